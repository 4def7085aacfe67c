"""Signing in at several web processes behind a proxy, while Redis comes and goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count

import httpx
import pytest

from runtime.store import migrate
from runtime.testing.client import PASSWORD, Client
from runtime.testing.ports import free_port
from runtime.testing.redis_server import RedisServer
from runtime.testing.sse import parse
from runtime.testing.stack import READY_WITHIN, Stack
from runtime.testing.waiting import until
from tests.support.contract import check_safe

PER_MINUTE = 5
HEARTBEAT = 0.5

Visit = Callable[..., Client]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, stack_redis: RedisServer) -> Iterator[Stack]:
    """A web process that believes one proxy, and nothing else."""
    home = tmp_path_factory.mktemp("stack")
    settings = {
        "BRANCHLINE_LIMITS_LOGINS_PER_MINUTE": str(PER_MINUTE),
        "BRANCHLINE_STREAM_HEARTBEAT": str(HEARTBEAT),
        "BRANCHLINE_REDIS_TIMEOUT": "120",  # much longer than a client waits for an answer here
        "BRANCHLINE_WEB_TRUSTED_PROXIES": "1",
        "BRANCHLINE_SECURITY_INSECURE": "true",
    }
    stack = Stack(home, f"sqlite:///{home}/branchline.db", stack_redis.url, pools=(), **settings)
    migrate.upgrade(stack.environ["DATABASE_URL"])
    try:
        stack.start("web")
        yield stack
    finally:
        stack.__exit__()


@pytest.fixture(scope="module")
def second(stack: Stack) -> str:
    """The address of another web process."""
    port = free_port()
    stack.start("web", key="second web", PORT=str(port))
    return f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def addresses() -> Iterator[str]:
    return (f"10.0.{number // 250}.{number % 250}" for number in count(1))


@pytest.fixture
def visit(stack: Stack, second: str, addresses: Iterator[str]) -> Iterator[Visit]:
    """Comes to the first web process, or to the one at ``url``, from an address of its own or ``address``."""
    with ExitStack() as leave:

        def come(url: str = stack.url, address: str | None = None) -> Client:
            client = leave.enter_context(Client(url))
            client.headers["X-Forwarded-For"] = address or next(addresses)
            until(lambda: answers(client), READY_WITHIN, "the web process answers")
            return client

        yield come


@pytest.fixture
def email(visit: Visit) -> str:
    """An account."""
    email = f"{visit().headers['X-Forwarded-For']}@example.com"
    visit().post("/api/auth/register", json={"email": email, "password": PASSWORD}).raise_for_status()
    return email


def answers(client: Client) -> bool:
    try:
        return client.get("/healthz").is_success
    except httpx.HTTPError:
        return False


def sign_in(client: Client, email: str, password: str = PASSWORD, **more: object) -> httpx.Response:
    return client.post("/api/auth/login", json={"email": email, "password": password, **more})


def guess(client: Client, number: int) -> int:
    return sign_in(client, f"{client.headers['X-Forwarded-For']}-{number}@example.com").status_code


def refused(client: Client) -> bool:
    return client.get("/api/me").status_code == 401


def test_attempts_of_an_address_are_counted_across_processes(visit: Visit, second: str) -> None:
    here = visit()
    there = visit(second, here.headers["X-Forwarded-For"])

    tries = [guess(client, number) for number, client in enumerate([here, there, here, there, here])]
    refusals = [sign_in(client, "nobody@example.com") for client in (here, there)]

    assert tries == [401] * PER_MINUTE
    assert [answer.status_code for answer in refusals] == [429, 429]
    assert all(1 <= int(answer.headers["Retry-After"]) <= 60 for answer in refusals)
    assert guess(visit(), 0) == 401


def test_attempts_at_an_account_are_counted_across_addresses(visit: Visit, second: str, email: str) -> None:
    tries = [sign_in(visit(url), email, "wrong").status_code for url in [second] * (PER_MINUTE - 1)]

    assert tries == [401] * (PER_MINUTE - 1)  # registering was one
    assert sign_in(visit(), email.upper()).status_code == 429


def test_a_forwarded_address_is_ignored_without_a_trusted_proxy(visit: Visit) -> None:
    client = visit()
    behind = client.headers["X-Forwarded-For"]

    tries = []
    for number in range(PER_MINUTE + 1):
        client.headers["X-Forwarded-For"] = f"192.0.2.{number}, {behind}"
        tries.append(sign_in(client, f"guess-{number}@example.com").status_code)

    assert tries == [401] * PER_MINUTE + [429]


def test_a_new_password_ends_the_streams_of_all_sessions(visit: Visit, second: str, email: str) -> None:
    here, there = visit(), visit(second)
    sign_in(here, email).raise_for_status()
    token = sign_in(there, email, token=True).json()["token"]
    thread = there.thread()
    paths = ["/api/events", f"/api/threads/{thread['id']}/events"]
    with ExitStack() as opened, ThreadPoolExecutor(len(paths)) as readers:
        streams = [opened.enter_context(httpx.Client.stream(there, "GET", path)) for path in paths]
        ends = [readers.submit(list, parse(stream.iter_raw())) for stream in streams]
        for stream in streams:
            check_safe(stream.headers)

        body = {"current_password": PASSWORD, "new_password": "another password"}
        assert here.post("/api/auth/password", json=body).status_code == 200

        for end in ends:
            end.result(timeout=40 * HEARTBEAT)
    assert refused(there)
    program = visit(second)
    program.headers["Authorization"] = f"Bearer {token}"
    assert refused(program)
    assert not refused(here)


def test_a_password_set_on_the_command_line_ends_all_sessions(
    visit: Visit, second: str, email: str, stack: Stack
) -> None:
    clients = [visit(), visit(second)]
    for client in clients:
        sign_in(client, email).raise_for_status()
        assert not refused(client)

    stack.run("user", "password", email, "--password", "another password")

    for client in clients:
        until(lambda client=client: refused(client), 4, "the session has ended")  # less than it is remembered
    assert sign_in(visit(), email, "another password").status_code == 200


def test_signing_in_works_and_stays_limited_while_redis_is_away(
    visit: Visit, email: str, stack_redis: RedisServer
) -> None:
    stack_redis.kill()
    try:
        client = visit()
        assert sign_in(client, email).status_code == 200
        assert [guess(client, number) for number in range(PER_MINUTE)] == [401] * (PER_MINUTE - 1) + [429]
    finally:
        stack_redis.start()


def test_signing_in_waits_only_briefly_when_redis_does_not_answer(
    visit: Visit, second: str, email: str, stack_redis: RedisServer
) -> None:
    client = visit(second)
    stack_redis.freeze()
    try:
        assert sign_in(client, email).status_code == 200
        assert client.get("/api/me").status_code == 200
    finally:
        stack_redis.thaw()
