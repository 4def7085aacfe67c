"""A user of Redis who has exactly the documented rights, and users who lack one of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress

import pytest
import redis

from runtime.model import new_id
from runtime.queue.app import make_celery, queue
from runtime.queue.messages import is_ours_in_redis
from runtime.queue.publisher import publish
from runtime.settings import load
from runtime.store.backlog import Ticket
from runtime.testing.client import Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from tests.support.command_line import doctor
from tests.support.forked import Forks
from tests.support.redis_rights import set_documented_rights


@pytest.fixture(scope="module")
def administrator(stack_redis: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(stack_redis.url) as client:
        set_documented_rights(client)
        yield client


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, stack_redis: RedisServer, administrator: redis.Redis
) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("stack")
    url = stack_redis.url.replace("redis://", "redis://branchline:secret@")
    with Stack(home, f"sqlite:///{home}/branchline.db", url) as stack:
        yield stack


def test_the_documented_rights_are_enough(stack: Stack, client: Client, administrator: redis.Redis) -> None:
    administrator.execute_command("ACL", "LOG", "RESET")
    asked = client.ask(client.thread(), "one two", n=2)
    for run in asked["runs"]:
        assert client.follow(run)[-1].data["status"] == "success"
    slow = client.ask(client.thread(), "word " * 100, config={"delay_ms": 100})["runs"][0]
    client.post(f"/api/runs/{slow['id']}/cancel", json={"wait": 10})
    assert client.wait(slow)["run"]["status"] == "cancelled"
    client.post("/api/auth/logout")  # a revocation

    found = json.loads(stack.run("doctor", "--json", code=1))  # other pools do not run
    assert [one["ok"] for one in found if one["about"] in ("redis", "broker")] == [True, True]
    assert administrator.execute_command("ACL", "LOG") == []


def test_a_message_that_comes_while_a_pool_stops_goes_back_to_its_queue(
    stack_redis: RedisServer, administrator: redis.Redis
) -> None:
    settings = load({"REDIS_URL": stack_redis.url.replace("redis://", "redis://branchline:secret@")})
    waiting = queue("stopped", no_ack=True)
    administrator.execute_command("ACL", "LOG", "RESET")
    with make_celery(settings, ["stopped"]) as app:
        with app.connection_for_read() as connection:
            consumer = connection.Consumer([waiting], callbacks=[lambda *_: pytest.fail("nobody consumes")])
            consumer.consume()
            with suppress(TimeoutError):
                connection.drain_events(timeout=0.1)  # Redis is asked for a message
            publish(app, Ticket(new_id(), "stopped", "echo", 1))
            consumer.cancel()
        [kept] = administrator.lrange(waiting.name, 0, -1)

    assert is_ours_in_redis(kept)
    assert administrator.execute_command("ACL", "LOG") == []


@pytest.mark.parametrize(
    ("taken", "named", "about"),
    [
        (["-xadd"], "XADD", {"redis"}),
        (["-evalsha"], "EVALSHA", {"redis", "broker"}),
        (["-brpop"], "BRPOP", {"broker"}),
        (["resetkeys", "~branchline:*"], "runs.", {"broker"}),
        (["resetchannels", "&branchline:*"], "/0.celery.pidbox", {"broker"}),
        (["resetkeys", "~runs.*", "~_kombu.*", "~*.celery.pidbox*", "~celeryev.*"], "branchline:", {"redis"}),
        (["resetchannels", "&branchline:*", "&/0.celery.pidbox", "&/*.celeryev/*"], "PSUBSCRIBE", {"broker"}),
        (["resetchannels", "&/0.celery.pidbox", "&/0.celeryev/*"], "branchline:", {"redis"}),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_a_right_that_is_missing_is_named(
    stack: Stack, forks: Forks, administrator: redis.Redis, taken: list[str], named: str, about: set[str]
) -> None:
    set_documented_rights(administrator, *taken)
    try:
        found = doctor(forks, stack)
    finally:
        set_documented_rights(administrator)

    lacking = [one for one in found if one["about"] in ("redis", "broker") and not one["ok"]]
    assert {one["about"] for one in lacking} == about
    assert any(named in one["found"] for one in lacking)
    assert all("deploy.md" in one["remedy"] for one in lacking)
