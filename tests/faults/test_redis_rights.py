"""A user of Redis who has exactly the documented rights, and users who lack one of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from runtime.settings import CHECKOUT
from runtime.testing.client import Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack

DOCUMENTED = re.search(r"^ACL SETUSER (\S+) (.*)$", Path(CHECKOUT, "docs/how-to/deploy.md").read_text(), re.M)


def set_rights(administrator: redis.Redis, *more: str) -> None:
    """What the page says, and ``more``."""
    assert DOCUMENTED is not None
    rules = DOCUMENTED[2].replace("PASSWORD", "secret").split()
    administrator.execute_command("ACL", "SETUSER", DOCUMENTED[1], "reset", *rules, *more)


@pytest.fixture(scope="module")
def administrator(stack_redis: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(stack_redis.url) as client:
        set_rights(client)
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


@pytest.mark.parametrize(
    ("taken", "named", "about"),
    [
        (["-xadd"], "XADD", {"redis"}),
        (["-evalsha"], "EVALSHA", {"redis", "broker"}),
        (["-brpop"], "BRPOP", {"broker"}),
        (["resetkeys", "~branchline:*"], "runs.", {"broker"}),
        (["resetchannels", "&branchline:*"], "/0.celery.pidbox", {"broker"}),
        (["resetkeys", "~runs.*", "~_kombu.*", "~*.celery.pidbox*"], "branchline:", {"redis"}),
        (["resetchannels", "&/0.celery.pidbox", "&/*.celeryev/*"], "branchline:", {"redis"}),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_a_right_that_is_missing_is_named(
    stack: Stack, administrator: redis.Redis, taken: list[str], named: str, about: set[str]
) -> None:
    set_rights(administrator, *taken)
    try:
        found = json.loads(stack.run("doctor", "--json", code=1))
    finally:
        set_rights(administrator)

    lacking = [one for one in found if one["about"] in ("redis", "broker") and not one["ok"]]
    assert {one["about"] for one in lacking} == about
    assert any(named in one["found"] for one in lacking)
    assert all("deploy.md" in one["remedy"] for one in lacking)
