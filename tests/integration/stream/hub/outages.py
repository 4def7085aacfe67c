"""A Redis that is away, empty, or started anew."""

from __future__ import annotations

import sys
import time

import gevent
import gevent.event
import redis

from runtime.errors import StreamUnavailable
from runtime.testing.waiting import until
from tests.integration.stream.hub.stage import (
    Stage,
    scenario,
)


@scenario
def a_flush_ends_idle_streams_with_a_reset(url: str) -> None:
    stage = Stage(url, reread=0.2)
    stage.write("before")
    reader = stage.watch()
    stage.link.client.flushall()
    until(lambda: reader.greenlet.dead)
    assert [(each["type"], each["reason"]) for each in reader.events] == [("reset", "epoch")]
    again = stage.watch()
    stage.write("after")
    until(lambda: again.texts == ["after"])


@scenario
def a_stream_is_refused_at_once_while_redis_is_away(url: str) -> None:
    """The address is that of nobody."""
    stage = Stage("redis://127.0.0.1:1/0")
    started = time.monotonic()
    try:
        stage.watch()
    except StreamUnavailable:
        assert time.monotonic() - started < 10
        assert stage.hub.stats()[:2] == (0, 0)
        return
    raise AssertionError("a stream was accepted")


@scenario
def a_restart_of_redis_resets_streams(url: str) -> None:
    """The test restarts Redis between the two lines that this prints."""
    stage = Stage(url, heartbeat=0.3)
    stage.write("before")
    reader = stage.watch()
    print("ready", flush=True)
    sys.stdin.readline()
    until(lambda: reader.greenlet.dead)
    assert [(each["type"], each["reason"]) for each in reader.events] == [("reset", "epoch")]
    again = stage.watch()
    stage.write("after")
    until(lambda: again.texts == ["after"])


@scenario
def streams_outlive_a_redis_that_does_not_answer_for_a_while(url: str) -> None:
    stage = Stage(url, heartbeat=0.3)
    reader = stage.watch()
    with redis.Redis.from_url(url) as admin:
        admin.execute_command("CLIENT", "PAUSE", "1500", "ALL")
    gevent.spawn(lambda: redis.Redis.from_url(url).publish(f"branchline:wake:{stage.thread}", "x"))
    until(lambda: reader.heartbeats >= 2)
    stage.write("after")
    until(lambda: reader.texts == ["after"])
