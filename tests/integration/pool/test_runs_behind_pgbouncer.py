"""Every process behind PgBouncer in transaction mode."""

from __future__ import annotations

import json
from pathlib import Path

from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from tests.support.pgbouncer import pgbouncer


def test_runs_are_executed_and_stored(
    tmp_path: Path, stack_postgresql_url: str, stack_redis: RedisServer
) -> None:
    with pgbouncer(stack_postgresql_url) as url, Stack(tmp_path, url, stack_redis.url) as stack:
        client = stack.client()
        thread = client.thread()
        for _ in range(3):
            runs = client.ask(thread, "one two three", n=4)["runs"]
            assert [client.wait(run)["run"]["status"] for run in runs] == ["success"] * 4

        found = json.loads(stack.run("doctor", "--json", code=1))  # other pools do not run
        assert [one["ok"] for one in found if one["about"] in ("database", "reaper")] == [True, True]
        client.close()
        for name in stack.processes:
            assert "prepared statement" not in stack.log(name)
