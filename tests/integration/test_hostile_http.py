"""Whatever a client sends, it gets one clear answer, and the log stays readable."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from runtime.store.page import encode_cursor
from tests.support.redis_server import RedisServer
from tests.support.stack import Client, Stack

DEEP = b"[" * 10_000 + b"]" * 10_000
BODIES = {
    b"{": 400,
    b"\xff\xfe": 400,
    b'{"title": "\\ud800"}': 400,
    DEEP: 400,
    b'{"metadata": ' + DEEP[9_900:-9_900] + b"}": 422,
    b'{"title": "\\u0000"}': 422,
    b'{"title": ' + b"9" * 5_000 + b"}": 400,
    b"[]": 422,
    b'{"title": "' + b"x" * 11_000_000 + b'"}': 413,
}
EXTREME_TIMES = ("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59+00:00")


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, stack_redis: RedisServer, stack_database_url: str
) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("stack"), stack_database_url, stack_redis.url) as stack:
        yield stack


@pytest.fixture
def client(stack: Stack) -> Iterator[Client]:
    with_account = stack.client()
    yield with_account
    with_account.close()


def test_malformed_bodies_get_problem_documents(client):
    thread = client.thread()

    for body, status in BODIES.items():
        answer = client.patch(f"/api/threads/{thread['id']}", content=body)
        assert answer.status_code == status, (body[:40], answer.status_code, answer.text[:200])
        assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_cursor_with_a_time_beyond_the_calendar_is_refused_or_an_end(client):
    thread = client.thread()

    for time in EXTREME_TIMES:
        answer = client.get("/api/threads", params={"cursor": encode_cursor(time, thread["id"])})
        assert answer.status_code in (200, 422), (time, answer.text)


def test_huge_numbers_can_be_read_again(client):
    for number in ("36893488147419103232", "1e308", "18446744073709551615", "-1e30"):
        made = client.post("/api/threads", content=f'{{"metadata": {{"n": {number}}}}}')
        assert made.status_code == 201, (number, made.text)

    assert client.get("/api/threads").status_code == 200


def test_mistakes_of_users_leave_no_traceback_in_the_log(stack, client):
    client.get(f"/api/threads/{client.thread()['root_state_id']}")
    client.post("/api/runs", json={"worker_id": "nobody"})

    assert "Traceback" not in stack.log("web")


def test_twenty_equal_requests_at_once_make_one_run(stack, client):
    thread = client.thread()
    body = {"worker_id": "echo", "input_state_id": thread["root_state_id"], "args": {"b": 1.5, "a": [2]}}

    def ask(_: int) -> tuple[int, str]:
        with Client(stack.url) as other:
            other.cookies = client.cookies
            answer = other.post(
                f"/api/threads/{thread['id']}/runs", json=body, headers={"Idempotency-Key": "same"}
            )
            return answer.status_code, json.dumps(answer.json(), sort_keys=True)

    with ThreadPoolExecutor(20) as pool:
        answers = Counter(pool.map(ask, range(20)))

    [(status, _)] = answers
    assert status == 202
    assert len(client.get("/api/runs", params={"thread": thread["id"]}).json()["items"]) == 1
    changed = client.post(
        f"/api/threads/{thread['id']}/runs", json={**body, "n": 2}, headers={"Idempotency-Key": "same"}
    )
    assert changed.status_code == 409
