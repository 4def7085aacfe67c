"""The hub against a real Redis: each scenario of the folder hub in a gevent process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.testing.redis_server import RedisServer
from tests.integration.stream.hub import SCENARIOS
from tests.support.forked import Forks

ROOT = Path(__file__).parents[3]
COMMAND = (sys.executable, "-m", "gevent.monkey", "--module", "tests.integration.stream.hub")
NEEDS_RESTART = "a_restart_of_redis_resets_streams"


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks("tests.integration.stream.hub.__main__:main", gevent=True) as forks:
        yield forks


@pytest.mark.parametrize("scenario", sorted(SCENARIOS.keys() - {NEEDS_RESTART}))
def test_hub_scenario(scenario: str, redis_url: str, forks: Forks) -> None:
    done = forks.call([scenario, redis_url], os.environ)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", ""), done.stderr


def test_a_restart_of_redis_resets_streams(own_redis: RedisServer) -> None:
    with subprocess.Popen(
        [*COMMAND, NEEDS_RESTART, own_redis.url],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        own_redis.restart()
        out, _ = process.communicate("go on\n", timeout=60)
        assert (process.returncode, out) == (0, "ok\n")
