"""All connections to the database are terminated again and again, under load: only 503; nothing is lost."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from runtime.testing.waiting import until

CLIENTS = 60
EVERY = 0.04
"""Seconds between two terminations of all connections."""
SETTINGS = {
    "BRANCHLINE_POOL_SLOTS": "20",
    "BRANCHLINE_POOL_RENEW": "1",
    "BRANCHLINE_REAPER_INTERVAL": "0.2",
    "BRANCHLINE_REAPER_PUBLISH_GRACE": "1",
    "BRANCHLINE_REAPER_ANNOUNCE_GRACE": "0.5",
    "BRANCHLINE_RUN_RETRY_BACKOFF": "0.1",
}
TERMINATE = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, stack_postgresql_url: str, stack_redis: RedisServer):
    with Stack(tmp_path_factory.mktemp("stack"), stack_postgresql_url, stack_redis.url, **SETTINGS) as stack:
        yield stack


@contextmanager
def terminating(url: str) -> Iterator[Counter[str]]:
    """Within it, no connection lives longer than a moment. How many were terminated."""
    counts: Counter[str] = Counter()
    stop = threading.Event()

    def terminate() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            while not stop.wait(EVERY):
                [ended] = connection.execute(TERMINATE).fetchone() or [0]
                counts["terminated"] += ended

    thread = threading.Thread(target=terminate)
    thread.start()
    try:
        yield counts
    finally:
        stop.set()
        thread.join()


@dataclass
class Asker:
    """One of many clients: it asks and reads, and tries again at every 503.

    It goes on until it is told to stop, and has had one run accepted: in the storm, or after it.
    """

    stack: Stack
    cookies: httpx.Cookies
    stop: threading.Event
    answers: Counter[int] = field(default_factory=Counter)
    accepted: list[dict[str, Any]] = field(default_factory=list)

    def run(self) -> None:
        with httpx.Client(base_url=self.stack.url, cookies=self.cookies, timeout=60) as http:
            while self._goes_on():
                self._ask(http)

    def _goes_on(self) -> bool:
        return not (self.stop.is_set() and self.accepted)

    def _ask(self, http: httpx.Client) -> None:
        text = f"question {uuid4().hex}"
        body = {"worker_id": "echo", "messages": [{"role": "user", "content": text}]}
        headers = {"Idempotency-Key": uuid4().hex}
        answer = self._send(http, "POST", "/api/runs", json=body, headers=headers)
        if answer is None:
            return
        run = answer.json()["runs"][0]
        self.accepted.append({"id": run["id"], "text": text})
        for path in ("/api/threads", f"/api/runs/{run['id']}", f"/api/threads/{run['thread_id']}/snapshot"):
            self._send(http, "GET", path)

    def _send(self, http: httpx.Client, method: str, path: str, **more: Any) -> httpx.Response | None:
        """The answer, unless there is none but 503 until the end."""
        while self._goes_on():
            answer = http.request(method, path, **more)
            self.answers[answer.status_code] += 1
            if answer.status_code != 503:
                return answer
            assert int(answer.headers["Retry-After"]) > 0
        return None


def try_for(seconds: float, stack: Stack, url: str) -> None:
    processes = {name: process.pid for name, process in stack.processes.items()}
    pool_process = stack.pool_process()
    with closing(stack.client()) as client:
        cookies = client.cookies
        with ThreadPoolExecutor(CLIENTS) as threads:
            stop = threading.Event()
            askers = [Asker(stack, cookies, stop) for _ in range(CLIENTS)]
            running = [threads.submit(asker.run) for asker in askers]
            try:
                with terminating(url) as counts:
                    time.sleep(seconds)  # how long the storm lasts
            finally:
                stop.set()
            for done in running:
                done.result()

        answers = sum((asker.answers for asker in askers), Counter[int]())
        accepted = [run for asker in askers for run in asker.accepted]
        assert set(answers) <= {200, 202, 503}, answers
        assert counts["terminated"] > 20
        assert len(accepted) >= CLIENTS, answers

        until(stack.ready, what="every process is useful")
        until(lambda: unfinished(url) == 0, 60, "every run has ended")
        for run in accepted[:: max(1, len(accepted) // 50)]:
            result = client.wait(run)
            assert result["run"]["status"] == "success", result
            assert [message["content"] for message in result["messages"]] == [run["text"]]
    assert ended_otherwise(url) == []
    assert {
        name: process.pid for name, process in stack.processes.items() if process.poll() is None
    } == processes
    assert stack.pool_process() == pool_process
    for name in processes:
        assert "Traceback" not in stack.log(name), stack.log(name)[-5000:]


def unfinished(url: str) -> int:
    with psycopg.connect(url) as connection:
        asked = connection.execute("SELECT count(*) FROM runs WHERE status IN ('queued', 'running')")
        return int((asked.fetchone() or [0])[0])


def ended_otherwise(url: str) -> list[Any]:
    """Runs that did not end well, also those whose request was answered 503."""
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT id, status, error FROM runs WHERE status <> 'success'").fetchall()


def test_terminated_connections_cost_nothing_but_a_second_try(
    stack: Stack, stack_postgresql_url: str
) -> None:
    try_for(3, stack, stack_postgresql_url)


@pytest.mark.soak
def test_connections_that_are_terminated_for_long_cost_nothing_but_a_second_try(
    stack: Stack, stack_postgresql_url: str
) -> None:
    try_for(9, stack, stack_postgresql_url)
