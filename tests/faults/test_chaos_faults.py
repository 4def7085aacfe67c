"""The faults of a chaos run do what they are named after."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
import redis

from runtime.testing.redis_server import RedisServer
from tests.chaos.faults import end_connections, evict, full, no_more
from tests.chaos.system import clock_ahead
from tests.support.clocks import do_without

OPENS = """
import sys
for _ in sys.stdin:
    try:
        open("/dev/null").close()
        print("open")
    except OSError as error:
        print(error.strerror)
"""


@pytest.fixture
def client(tmp_path: Path):
    with RedisServer(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        yield client


def test_an_eviction_deletes_only_keys_of_threads_that_would_expire(client: redis.Redis) -> None:
    for number in range(10):
        client.set(f"branchline:{{t{number}}}:head", "x", ex=1000)
    client.set("branchline:{kept}:head", "x")
    client.set("other", "x", ex=1000)

    assert evict(client, 0.5) == 3
    assert len(client.keys("branchline:{t*")) == 7
    assert client.exists("branchline:{kept}:head", "other") == 2


def test_a_full_redis_refuses_writes_until_it_is_over(client: redis.Redis) -> None:
    with full(client), pytest.raises(redis.exceptions.OutOfMemoryError):
        client.set("a", "x")
    client.set("a", "x")


def test_ended_connections_are_ended_again_and_again(empty_postgresql_url: str) -> None:
    with psycopg.connect(empty_postgresql_url) as victim:
        end_connections(empty_postgresql_url, time.monotonic() + 0.1)
        with pytest.raises(psycopg.OperationalError):
            victim.execute("SELECT 1")


def test_a_process_that_may_have_no_more_descriptors_opens_none() -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-u", "-c", OPENS], **pipes) as process:

        def tried() -> str:
            process.stdin.write("\n")
            process.stdin.flush()
            return process.stdout.readline()

        assert tried() == "open\n"
        with no_more(process.pid, resource.RLIMIT_NOFILE):
            assert tried() == "Too many open files\n"
        assert tried() == "open\n"
        process.stdin.close()


def test_a_process_sees_a_clock_that_is_ahead() -> None:
    ahead = clock_ahead(42)
    if not ahead:
        do_without()
    command = [sys.executable, "-c", "import time; time.sleep(0.01); print(time.time())"]
    seen = float(subprocess.run(command, env=os.environ | ahead, capture_output=True, check=True).stdout)
    assert 40 < seen - datetime.now(UTC).timestamp() < 45
