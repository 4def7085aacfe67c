"""The hub against a real Redis: see hub_scenarios.py, whose functions are the tests."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from testbed.redis_server import RedisServer

SCENARIOS = Path(__file__).with_name("hub_scenarios.py")
COMMAND = (sys.executable, "-m", "gevent.monkey", str(SCENARIOS))
NEEDS_RESTART = "a_restart_of_redis_resets_streams"


def names() -> list[str]:
    """The functions that take an address of Redis and nothing else."""
    tree = ast.parse(SCENARIOS.read_text())
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    return [one.name for one in functions if [argument.arg for argument in one.args.args] == ["url"]]


@pytest.mark.parametrize("scenario", [name for name in names() if name != NEEDS_RESTART])
def test(scenario: str, redis_url: str) -> None:
    done = subprocess.run(
        [*COMMAND, scenario, redis_url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", ""), done.stderr


def test_a_restart_of_redis_resets_streams(own_redis: RedisServer) -> None:
    with subprocess.Popen(
        [*COMMAND, NEEDS_RESTART, own_redis.url],
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
