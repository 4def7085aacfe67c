"""The hub against a real Redis: each scenario of the folder hub in a gevent process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from runtime.testing.redis_server import RedisServer
from tests.integration.stream.hub import SCENARIOS

ROOT = Path(__file__).parents[3]
COMMAND = (sys.executable, "-m", "gevent.monkey", "--module", "tests.integration.stream.hub")
NEEDS_RESTART = "a_restart_of_redis_resets_streams"


@pytest.mark.parametrize("scenario", sorted(SCENARIOS.keys() - {NEEDS_RESTART}))
def test_hub_scenario(scenario: str, redis_url: str) -> None:
    done = subprocess.run(
        [*COMMAND, scenario, redis_url],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
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
