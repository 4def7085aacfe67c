"""One user's searches keep nobody else from being answered, nor the user from doing something else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import psycopg

from runtime.testing.client import Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from tests.support.web_process import stack_on_sqlite, web_only

AT_ONCE = 20


@contextmanager
def searching(client: Client, times: int = AT_ONCE) -> Iterator[list[httpx.Response]]:
    """So many searches at once; after the block their answers."""
    answers: list[httpx.Response] = []
    with ThreadPoolExecutor(times) as threads:
        begun = [threads.submit(client.get, "/api/threads", params={"q": "oak"}) for _ in range(times)]
        yield answers
        answers += [each.result() for each in begun]


def say(client: Client, thread: dict[str, str], text: str) -> None:
    body = {"parent_id": thread["root_state_id"], "messages": [{"role": "user", "content": text}]}
    client.post(f"/api/threads/{thread['id']}/states", json=body).raise_for_status()


def test_others_are_answered_while_every_search_hangs(
    tmp_path: Path, postgresql_url: str, redis_server: RedisServer
) -> None:
    settings = {"BRANCHLINE_DATABASE_SEARCH_TIMEOUT": "2"}
    with (
        web_only(Stack(tmp_path, postgresql_url, redis_server.url, pools=(), **settings)) as stack,
        closing(stack.client()) as ada,
        closing(stack.client()) as bob,
    ):
        say(ada, ada.thread(), "elm")
        with psycopg.connect(postgresql_url) as lock:
            lock.execute("LOCK TABLE messages IN ACCESS EXCLUSIVE MODE")
            with searching(ada) as answers:
                for client in (ada, bob):
                    assert client.get("/api/threads").status_code == 200
                    assert client.post("/api/tokens", json={"name": "mine"}).status_code == 201

        statuses = Counter(answer.status_code for answer in answers)
        assert set(statuses) <= {422, 429}, statuses
        assert statuses[422] >= 2
        for answer in answers:
            code = "search-too-long" if answer.status_code == 422 else "too-many"
            assert answer.json()["type"] == f"urn:branchline:problem:{code}"
            assert ("Retry-After" in answer.headers) == (answer.status_code == 429)
        assert ada.get("/api/threads", params={"q": "elm"}).json()["items"]


def test_large_messages_are_searched_beside_others_on_sqlite(
    tmp_path: Path, sqlite_template: Path, stack_redis: RedisServer
) -> None:
    with (
        web_only(stack_on_sqlite(tmp_path, sqlite_template, stack_redis)) as stack,
        closing(stack.client()) as ada,
        closing(stack.client()) as bob,
    ):
        thread = ada.thread()
        for _ in range(4):
            say(ada, thread, "elm " * 1_000_000)
        with searching(ada) as answers:
            for _ in range(5):
                assert bob.get("/api/threads").status_code == 200

        assert {answer.status_code for answer in answers} <= {200, 422, 429}
        assert any(answer.status_code == 200 for answer in answers)
