"""A user may have so many streams and waits open, and no more; each that ends makes room for another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from runtime.testing.client import Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from runtime.testing.waiting import until
from tests.support.web_process import stack_on_sqlite, web_only

LIMIT = 4


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, stack_redis: RedisServer
) -> Iterator[Stack]:
    settings = {"BRANCHLINE_LIMITS_STREAMS_PER_USER": str(LIMIT), "BRANCHLINE_STREAM_HEARTBEAT": "0.5"}
    folder = tmp_path_factory.mktemp("stack")
    with web_only(stack_on_sqlite(folder, sqlite_template, stack_redis, **settings)) as stack:
        yield stack


class Reader:
    """A user with a thread and a run that waits for ever, since there is no pool."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.thread = client.thread()
        self.run = client.ask(self.thread, "Hello")["runs"][0]
        self._leave = ExitStack()

    def paths(self) -> list[str]:
        """What can be read as a stream, or waited for: that answers once a heartbeat is over."""
        return [
            "/api/events",
            f"/api/threads/{self.thread['id']}/events",
            f"/api/runs/{self.run['id']}/events",
            f"/api/runs/{self.run['id']}/wait?timeout=60",
        ]

    def open(self, path: str) -> httpx.Response:
        """A stream that stays open until ``close``, or the answer that refuses it."""
        return self._leave.enter_context(httpx.Client.stream(self.client, "GET", path))

    def fill(self) -> None:
        """Open as many as may be."""
        paths = self.paths()
        for number in range(LIMIT):
            assert self.open(paths[number % len(paths)]).status_code == 200

    def close(self) -> None:
        """Close all streams."""
        self._leave.close()


@pytest.fixture
def reader(stack: Stack) -> Iterator[Reader]:
    with closing(stack.client()) as client:
        reader = Reader(client)
        yield reader
        reader.close()


def ask_for_stream(reader: Reader) -> httpx.Response:
    body = {"input_state_id": reader.thread["root_state_id"], "worker_id": "echo", "messages": []}
    path = f"/api/threads/{reader.thread['id']}/runs"
    return reader.client.post(path, json=body, headers={"Accept": "text/event-stream"})


def runs(reader: Reader) -> list[dict[str, Any]]:
    return reader.client.get("/api/runs").json()["items"]


def test_one_stream_too_many_of_any_kind_is_refused(reader: Reader) -> None:
    reader.fill()
    before = runs(reader)

    for path in reader.paths():
        refused = reader.open(path)
        assert refused.status_code == 429
        assert int(refused.headers["Retry-After"]) > 0
        assert f"{LIMIT} streams" in refused.read().decode()
    for refused in (
        reader.client.get(f"/api/runs/{reader.run['id']}/wait", params={"timeout": 60}),
        reader.client.post(f"/api/runs/{reader.run['id']}/cancel", json={"wait": True}),
        ask_for_stream(reader),
    ):
        assert refused.status_code == 429, refused.text
    assert runs(reader) == before  # nothing was begun or cancelled


def test_a_stream_of_several_threads_counts_for_each(reader: Reader) -> None:
    threads = [reader.client.thread() for _ in range(LIMIT)]
    after = [f"{thread['id']}@0" for thread in threads]

    assert reader.open(f"/api/events?threads={','.join(after)}").status_code == 429
    assert reader.open(f"/api/events?threads={','.join(after[1:])}").status_code == 200
    assert reader.open("/api/events").status_code == 429


def test_others_and_other_requests_are_not_concerned(stack: Stack, reader: Reader) -> None:
    reader.fill()

    assert reader.client.get("/api/threads").status_code == 200
    with closing(stack.client()) as other, other.stream("/api/events"):
        pass


def test_streams_and_waits_that_are_closed_make_room(reader: Reader) -> None:
    reader.fill()
    reader.close()

    def opened(path: str) -> bool:
        return reader.open(path).status_code == 200

    for path in reader.paths():
        until(partial(opened, path), 30, "the server has noticed that they are closed")


def test_a_wait_and_a_stream_that_end_make_room(reader: Reader) -> None:
    for _ in range(3 * LIMIT):
        wait = reader.client.get(f"/api/runs/{reader.run['id']}/wait", params={"timeout": 0.01})
        assert wait.status_code == 200
        malformed = reader.client.get(f"/api/threads/{reader.thread['id']}/events", params={"after": "?"})
        assert malformed.status_code == 200
        assert reader.client.head("/api/events").status_code == 200
