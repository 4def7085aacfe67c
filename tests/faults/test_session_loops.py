"""A session that goes on by itself while every process dies: each turn once, and no gap in its stream."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest

from runtime.testing.client import Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.sse import Text
from runtime.testing.stack import Stack
from runtime.testing.waiting import until

pytestmark = pytest.mark.timeout(300)

COUNTER = '''import time
def run(run):
    """Says which turn it is, a word at a time, and finishes behind the last one."""
    number = run.state.get("number", 0) + 1
    run.state["number"] = number
    for word in f"This is turn {number} .".split(" "):
        yield word + " "
        time.sleep(0.02)
    if number == LAST:
        run.finish("The last turn.")
'''
MANIFEST = 'id = "counter"\nname = "Counter"\ntype = "python"\nentrypoint_path = "worker.py"\n'
QUICK = {
    "BRANCHLINE_POOL_LEASE": "6",
    "BRANCHLINE_POOL_RENEW": "1",
    "BRANCHLINE_RUN_RETRY_BACKOFF": "0",
    "BRANCHLINE_RUN_MAX_ATTEMPTS": "20",
}
TURNS = 50
KILLS = ("pool", "reaper", "web", "pool", "redis", "web")


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, stack_redis: RedisServer, stack_database_url: str
) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("stack")
    folder = home / "workers" / "counter"
    folder.mkdir(parents=True)
    (folder / "worker.toml").write_text(MANIFEST)
    (folder / "worker.py").write_text(COUNTER.replace("LAST", str(TURNS)))
    settings = {**QUICK, "WORKERS_PATH": str(home / "workers")}
    with Stack(home, stack_database_url, stack_redis.url, **settings) as stack:
        yield stack


class Watcher:
    """Follows the stream of a thread until its session stops, and connects again where it was."""

    def __init__(self, client: Client, thread_id: str, cursor: str) -> None:
        self.text = Text()
        self.resets = 0
        self.sessions: list[dict[str, Any]] = []
        self._client, self._path, self._last = client, f"/api/threads/{thread_id}/events", cursor
        self.stopped = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def wait(self, within: float) -> None:
        assert self.stopped.wait(within), (self._last, self.sessions[-1:])
        self._thread.join(10)

    def _follow(self) -> None:
        while not self.stopped.is_set():
            with suppress(httpx.TransportError), self._client.stream(self._path, self._last) as events:
                for event in events:
                    if event.type == "reset":
                        self.resets += 1
                        snapshot = read(self._client, self._path.replace("/events", "/snapshot"))
                        self.text, self._last = Text.of(snapshot), snapshot["cursor"]
                        self._note(session_of(self._client, self._path.replace("/events", "/session")))
                        break
                    self._last = event.id or self._last
                    self.text.apply(event)
                    if event.type == "session.updated":
                        self._note(event.data["session"])
                    if self.stopped.is_set():
                        break
            time.sleep(0.05)

    def _note(self, session: dict[str, Any]) -> None:
        self.sessions.append(session)
        if session["status"] == "stop":
            self.stopped.set()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1])
def test_fifty_turns_are_taken_once_each_whoever_dies(
    stack: Stack, client: Client, stack_redis: RedisServer, seed: int
) -> None:
    rng = random.Random(seed)
    thread = client.thread(worker_id="counter")
    path = f"/api/threads/{thread['id']}/session"
    made = client.post(path, json={"auto": {"enabled": True}, "limits": {"max_turns": 2 * TURNS}})
    assert made.status_code == 201, made.text
    cursor = client.get(f"/api/threads/{thread['id']}/snapshot").json()["cursor"]
    watcher = Watcher(client, thread["id"], cursor)
    client.post(f"{path}/messages", json={"messages": [{"role": "user", "content": "Count"}]})

    for number, which in enumerate(KILLS, 1):
        reached = number * TURNS // (len(KILLS) + 1) + rng.randint(-2, 2)
        until(lambda reached=reached: session_of(client, path)["turn"] >= reached, 60, f"turn {reached}")
        kill(stack, stack_redis, which)
    stack.mend()
    until(lambda: session_of(client, path)["status"] == "stop", 90, "the session stops")

    session = session_of(client, path)
    assert (session["stop_reason"]["code"], session["turn"]) == ("finished", TURNS), session
    runs = all_of(client, f"/api/runs?thread={thread['id']}&limit=100")
    assert sorted(run["turn"] for run in runs) == list(range(1, TURNS + 1))
    assert {run["status"] for run in runs} == {"success"}
    said = {run["turn"]: answer(client, run) for run in runs}
    assert said == {number: f"This is turn {number} . " for number in range(1, TURNS + 1)}
    moves = all_of(client, f"{path}/transitions?limit=100")
    assert [move["number"] for move in moves] == list(range(len(moves), 0, -1))
    watcher.wait(20)
    heard = {text for text in watcher.text.complete.values() if text.startswith("This")}
    if not watcher.resets:
        assert heard == set(said.values())
    revisions = [session["revision"] for session in watcher.sessions]
    assert watcher.sessions[-1] == session
    if not watcher.resets:
        assert len(set(revisions)) == len(revisions)


def read(client: Client, path: str) -> dict[str, Any]:
    """What the API answers, once it does: a connection may be one to a process that is gone."""

    def answer() -> dict[str, Any] | None:
        with suppress(httpx.TransportError):
            found = client.get(path)
            return dict(found.json()) if found.status_code == 200 else None
        return None

    return dict(until(answer, 40, path))


def session_of(client: Client, path: str) -> dict[str, Any]:
    return dict(read(client, path)["session"])


def all_of(client: Client, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        page = read(client, path + (f"&cursor={cursor}" if cursor else ""))
        found += page["items"]
        cursor = page["next"]
        if cursor is None:
            return found


def answer(client: Client, run: dict[str, Any]) -> str:
    state = read(client, f"/api/states/{run['output_state_id']}")["state"]
    return "".join(message["content"] for message in state["messages"])


def kill(stack: Stack, redis: RedisServer, which: str) -> None:
    if which == "redis":
        redis.kill()
        redis.start()
    elif which == "pool":
        os.kill(stack.pool_process(), signal.SIGKILL)
    else:
        stack.kill(which)
        stack.start(which)
