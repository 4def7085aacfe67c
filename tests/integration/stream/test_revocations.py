"""What ends a credential in one web process ends it in every other: real processes, one Redis."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest

from runtime.testing.client import Client
from runtime.testing.ports import free_port
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import READY_WITHIN, Stack
from runtime.testing.waiting import until
from tests.support.metrics import figure
from tests.support.web_process import web_only

AT_ONCE = 4.0
"""Seconds; less than a credential is remembered, for this must not pass by forgetting."""


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, stack_redis: RedisServer, stack_database_url: str
) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    with web_only(Stack(folder, stack_database_url, stack_redis.url, pools=())) as stack:
        yield stack


@pytest.fixture(scope="module")
def second(stack: Stack) -> str:
    """The address of another web process."""
    port = free_port()
    stack.environ["PORT"] = str(port)
    stack.start("web", key="second web")
    url = f"http://127.0.0.1:{port}"
    with Client(url) as client:
        until(lambda: answers(client), READY_WITHIN, "the second web process answers")
    return url


@pytest.fixture
def here(stack: Stack) -> Iterator[Client]:
    """Somebody with an account, at the first process."""
    with closing(stack.client()) as client:
        yield client


@pytest.fixture
def there(here: Client, second: str) -> Iterator[Client]:
    """The same browser at the second process."""
    with Client(second) as client:
        client.cookies = here.cookies
        yield client


def answers(client: Client) -> bool:
    try:
        return client.get("/healthz").is_success
    except httpx.HTTPError:
        return False


def lookups(client: Client) -> float:
    return figure(client, "credential_lookups_total")


def remembers(client: Client, path: str = "/api/me") -> bool:
    """Whether the client's process knows whose its credential is."""
    assert client.get(path).status_code == 200
    before = lookups(client)
    assert client.get(path).status_code == 200
    return lookups(client) == before


def refused(client: Client) -> bool:
    return client.get("/api/me").status_code == 401


def test_a_sign_out_ends_the_session_in_every_process_at_once(here: Client, there: Client) -> None:
    cookies = httpx.Cookies(here.cookies)
    until(lambda: remembers(here) and remembers(there))

    assert here.post("/api/auth/logout").status_code == 204

    here.cookies = cookies
    assert refused(here)
    until(lambda: refused(there), AT_ONCE)


def test_a_revoked_token_is_refused_by_every_process(here: Client, second: str) -> None:
    token = here.post("/api/tokens").json()["token"]
    with Client(second) as program:
        program.headers["Authorization"] = f"Bearer {token['secret']}"
        until(lambda: remembers(program))

        assert here.delete(f"/api/tokens/{token['id']}").status_code == 204

        until(lambda: refused(program), AT_ONCE)


@pytest.mark.parametrize("end", ["revoke", "close"])
def test_tokens_of_a_session_end_in_every_process_at_once(here: Client, second: str, end: str) -> None:
    path = f"/api/threads/{here.thread(worker_id='echo')['id']}/session"
    assert here.post(path, json={}).status_code == 201
    token = here.post(f"{path}/token", json={"scope": "read"}).json()["token"]
    with Client(second) as guest:
        guest.headers["Authorization"] = f"Bearer {token}"
        until(lambda: remembers(guest, path))

        ended = here.delete(f"{path}/token") if end == "revoke" else here.post(f"{path}/close")

        assert ended.is_success
        until(lambda: guest.get(path).status_code == 401, AT_ONCE)


def test_no_credential_is_cached_while_revocations_cannot_be_received(
    here: Client, there: Client, stack_redis: RedisServer
) -> None:
    until(lambda: remembers(there))
    stack_redis.kill()
    try:
        until(lambda: not remembers(there), AT_ONCE)

        assert here.post("/api/auth/logout").status_code == 204

        assert refused(there)
    finally:
        stack_redis.start()


def test_credentials_are_cached_again_once_revocations_are_received(
    here: Client, there: Client, stack_redis: RedisServer
) -> None:
    until(lambda: remembers(there))
    stack_redis.restart()

    until(lambda: remembers(there))
    assert here.post("/api/auth/logout").status_code == 204
    until(lambda: refused(there), AT_ONCE)
