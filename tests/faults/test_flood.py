"""A worker that writes a gigabyte costs little memory, and delays nobody."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from tests.support.coded import coded, write_worker
from tests.support.reader import Reader

pytestmark = [pytest.mark.soak, pytest.mark.timeout(900)]

MOST_MEMORY = 100_000
"""kB that a process may use more than before: some times what a run may write, or keep in its log."""
WITHIN = 30.0
"""Seconds in which another run must have ended meanwhile, on a busy machine."""
GIGABYTE = """
    block = {block}
    for _ in range((1 << 30) // len(block)):
        os.write({descriptor}, block)
    """
LINES = 'b"x" * 65535 + b"\\n"'
DELTAS = """(json.dumps({"type": "delta", "text": "x" * 500}).encode() + b"\\n") * 100"""
FLOODS = {
    "lines on stdout": (LINES, 1, "success", None),
    "lines on stderr": (LINES, 2, "success", None),
    "one line": ('b"x" * 65536', 1, "error", "output_too_large"),
    "deltas": (DELTAS, 1, "error", "output_too_large"),
}


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, stack_redis: RedisServer, stack_postgresql_url: str
) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("stack")
    paths = write_worker(home)
    with Stack(
        home, stack_postgresql_url, stack_redis.url, ("exec",), from_python=True, WORKERS_PATH=paths
    ) as stack:
        yield stack


class Meter:
    """The most memory that processes have used since it was started, in kB by name."""

    def __init__(self, **pids: int) -> None:
        self._pids = pids
        self.before = self._read()
        self.most = dict(self.before)
        self._stopped = threading.Event()
        self._reading = threading.Thread(target=self._read_on, daemon=True)
        self._reading.start()

    def close(self) -> None:
        self._stopped.set()
        self._reading.join()

    def _read_on(self) -> None:
        while not self._stopped.wait(0.05):
            for name, memory in self._read().items():
                self.most[name] = max(self.most[name], memory)

    def _read(self) -> dict[str, int]:
        return {name: proportional(pid) for name, pid in self._pids.items()}


def proportional(pid: int) -> int:
    """A process's own memory, and its share of what it has in common with others, in kB."""
    found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
    assert found
    return int(found[1])


@pytest.mark.parametrize(("block", "descriptor", "status", "error"), FLOODS.values(), ids=list(FLOODS))
def test_a_gigabyte_of_output_costs_little_and_hinders_nobody(
    stack: Stack, block: str, descriptor: int, status: str, error: str | None
) -> None:
    arbiter = stack.processes["web"].pid
    web = int(Path(f"/proc/{arbiter}/task/{arbiter}/children").read_text().split()[0])
    with ExitStack() as undo:
        client = undo.enter_context(closing(stack.client()))
        thread = client.thread()
        client.wait(client.ask(thread, "warm", worker_id="shell")["runs"][0])
        meter = undo.enter_context(closing(Meter(pool=stack.pool_process("exec"), web=web)))
        run = coded(client, GIGABYTE.format(block=block, descriptor=descriptor))
        reader = Reader(client, run)
        others = 0
        while client.get(f"/api/runs/{run['id']}").json()["run"]["status"] in ("queued", "running"):
            other = client.ask(thread, "still here", worker_id="shell")["runs"][0]
            result = client.wait(other, timeout=WITHIN)
            assert result["run"]["status"] == "success"
            others += 1
        ended = client.wait(run)["run"]
        reader.wait()
        log = client.get(f"/api/runs/{run['id']}/log").json()["items"]

    assert others
    assert (ended["status"], (ended["error"] or {}).get("code")) == (status, error)
    assert sum(len(entry["text"]) for entry in log) < 10_000_000
    for name, most in meter.most.items():
        assert most - meter.before[name] < MOST_MEMORY, (name, meter.before[name], most)
