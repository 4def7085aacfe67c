"""Many readers of one run: who stops reading, or is gone, costs little and hinders nobody."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from runtime import settings as settings_module
from runtime.services import Services
from runtime.testing.client import Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.sse import parse
from runtime.testing.stack import Stack
from runtime.testing.waiting import until
from tests.support.attempt import Attempt
from tests.support.crowd import Seat, read
from tests.support.metrics import figure
from tests.support.web_process import stack_on_sqlite, web_only

SETTINGS = {"BRANCHLINE_STREAM_HEARTBEAT": "1", "BRANCHLINE_STREAM_PATIENCE": "1"}
"""Who stops is given up soon, and has to connect again."""
PIECE = "x" * 20_000
PIECES = 30
"""Together they are more than fits between the server and a reader who has stopped."""
MOST_PER_READER = 250
"""kB of memory: what is held for a reader who has stopped, twice, and its greenlet. All of it is 600 kB."""


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, redis_server: RedisServer
) -> Iterator[Stack]:
    """A web process and nothing else; the test plays the pool."""
    folder = tmp_path_factory.mktemp("web")
    stack = stack_on_sqlite(folder, sqlite_template, redis_server, from_python=True, **SETTINGS)
    with web_only(stack):
        yield stack


@pytest.mark.parametrize(
    "count", [250, pytest.param(5_000, marks=[pytest.mark.soak, pytest.mark.timeout(600)])]
)
def test_readers_are_served_while_others_stop_or_vanish(stack: Stack, count: int) -> None:
    services = Services(settings_module.load(stack.environ))
    with closing(stack.client()) as ada, closing(services.link):
        run = ada.ask(ada.thread(), "Hello")["runs"][0]
        path = f"/api/runs/{run['id']}/events"
        attempt = Attempt(services, run["id"])
        message = attempt.begin_message()
        before = memory(stack)
        tenth = count // 10
        quick = join(ada, path, count - tenth)
        stopped = join(ada, path, tenth, small=True)
        gone = join(ada, path, tenth)
        until(lambda: figure(ada, "open_streams") == count + tenth)

        for number, seat in enumerate(gone):
            (seat.vanish, seat.reset, seat.close)[number % 3]()
        for _ in range(PIECES):
            attempt.write(message, PIECE)
            most = memory(stack)
        attempt.finish()
        read(quick, 60 + count / 20)
        most = max(most, memory(stack))

        assert most - before < MOST_PER_READER * count

        events = ada.follow(run)
        assert events[-1].type == "run.completed"
        assert "".join(e.data["text"] for e in events if e.type == "message.delta") == PIECE * PIECES
        assert [seat.ended for seat in stopped] == [False] * tenth
        # While this process was busy with so many, it may have stopped reading for others as well.
        for seen in whole(ada, path, [*quick, *stopped]):
            assert seen == [event.id for event in events]
        until(lambda: figure(ada, "open_streams") == 0, what="nobody reads any more")
        until(lambda: connections(stack) < 5, what="no connection is left")
        assert "Traceback" not in stack.log("web")
        for seat in gone:
            seat.close()
    services.database.close()


def test_a_vanished_reader_is_noticed_while_a_stream_is_silent(stack: Stack) -> None:
    with closing(stack.client()) as ada:
        thread = ada.thread()
        path = f"/api/threads/{thread['id']}/events"
        until(lambda: figure(ada, "open_streams") == 0)
        seats = [Seat(ada, one) for one in (path, "/api/events") for _ in range(3)]
        until(lambda: figure(ada, "open_streams") == len(seats))
        read(seats, 10, until=b"retry: ")
        for number, seat in enumerate(seats):
            (seat.vanish, seat.reset, seat.close)[number % 3]()
        until(lambda: figure(ada, "open_streams") == 0, what="all of them are noticed")
        until(lambda: connections(stack) < 5, what="no connection is left")
        for seat in seats:
            seat.close()
        assert "Traceback" not in stack.log("web")


def join(ada: Client, path: str, count: int, small: bool = False) -> list[Seat]:
    """So many readers, a hundred at a time, each of whom has read what there is."""
    seats: list[Seat] = []
    while len(seats) < count:
        new = [Seat(ada, path, small) for _ in range(min(100, count - len(seats)))]
        read(new, 30, until=b"event: message.created")
        seats += new
    return seats


def whole(ada: Client, path: str, stopped: list[Seat]) -> list[list[str | None]]:
    """The ids of all events that readers get who read on, and connect again where they were given up."""
    read(stopped, 60)
    seen = [[event.id for event in parse([seat.body])] for seat in stopped]
    rest = {at: Seat(ada, path, last=seen[at][-1]) for at, seat in enumerate(stopped) if not seat.ended}
    read(rest.values(), 60)
    for at, seat in rest.items():
        seen[at] += [event.id for event in parse([seat.body])]
    return seen


def web_process(stack: Stack) -> int:
    """gunicorn's worker."""
    arbiter = stack.processes["web"].pid
    return int(Path(f"/proc/{arbiter}/task/{arbiter}/children").read_text().split()[0])


def memory(stack: Stack) -> int:
    """What the web process holds by itself, in kB."""
    found = Path(f"/proc/{web_process(stack)}/smaps_rollup").read_text()
    return int(re.findall(r"^Pss:\s+(\d+) kB", found, re.M)[0])


def connections(stack: Stack) -> int:
    """How many sockets of clients the web process has open."""
    pid = web_process(stack)
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            inodes.add(str(link.readlink()))
        except FileNotFoundError:
            continue
    lines = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    ours = [line for line in lines if int(line[1].rpartition(":")[2], 16) == stack.port and line[3] != "0A"]
    return sum(f"socket:[{line[9]}]" in inodes for line in ours)
