"""Clients that read more slowly than is written, and what the hub keeps for them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gevent
import gevent.event

from runtime.events import Cursor
from runtime.stream import Chunk, EventLog
from runtime.stream.hub import READERS
from runtime.testing.waiting import until
from tests.integration.stream.hub.stage import (
    SETTINGS,
    Pipe,
    Stage,
    encoded,
    parse,
    scenario,
)
from web.streaming.sse import encode_sse


@scenario
def a_slow_client_catches_up_without_a_gap(url: str) -> None:
    stage = Stage(url, ring=4)
    follower = stage.hub.follow(stage.thread, None)
    quick = stage.watch()
    for number in range(500):
        stage.write(str(number))
    until(lambda: len(quick.events) == 500)
    assert len(stage.feed.ring) <= 8
    got = b""
    while len(parse(got)) < 500:
        got += encoded(next(follower))
    assert [each["text"] for each in parse(got)] == [str(number) for number in range(500)]


@scenario
def followers_that_read_redis_themselves_leave_connections_to_others(url: str) -> None:
    stage = Stage(url, ring=1)
    stage.begin()
    for number in range(5):
        stage.write(str(number))
    read, under_way = stage.log.read, [0]
    most = 0

    def slowly(*args: Any) -> Chunk:
        nonlocal most
        under_way[0] += 1
        most = max(most, under_way[0])
        gevent.sleep(0.02)
        chunk = read(*args)
        under_way[0] -= 1
        return chunk

    stage.watch()
    stage.log.read = slowly  # type: ignore[method-assign]
    beginning = Cursor(stage.log.cursor(stage.thread).epoch, 0)
    crowd = [stage.watch(beginning) for _ in range(3 * READERS)]
    until(lambda: all(len(reader.texts) == 5 for reader in crowd))
    assert most == READERS


@scenario
def a_ring_is_bounded_in_bytes(url: str) -> None:
    stage = Stage(url, reread=0.2)
    slow = stage.hub.follow(stage.thread, None)
    for number in range(12):
        stage.write("x" * 500_000 + str(number))
    until(lambda: stage.feed.cursor and stage.feed.cursor.seq == 12)
    assert sum(len(entry.payload) + len(entry.encoded(encode_sse)) for entry in stage.feed.ring) <= 1 << 20
    until(lambda: not stage.feed.ring)  # nothing happens any more: nothing is kept
    received = []
    while len(received) < 12:
        data = encoded(next(slow))
        assert len(data) < 2 << 20
        received += parse(data)
    assert [str(each["text"])[500_000:] for each in received] == [str(number) for number in range(12)]


@scenario
def a_trimmed_log_resets_a_slow_client(url: str) -> None:
    stage = Stage(url)
    stage.log = EventLog(stage.link, replace(SETTINGS.log, entries=100))
    slow = stage.hub.follow(stage.thread, None)
    for number in range(3000):
        stage.write(str(number))
    until(lambda: stage.feed.cursor and stage.feed.cursor.seq == 3000)
    stage.feed.clear()
    last = list(slow)[-1]
    assert [(each["type"], each["reason"]) for each in parse(encoded(last))] == [("reset", "trimmed")]
    assert slow.reset == "trimmed"


@scenario
def a_reader_whose_position_is_lost_gets_a_reset(url: str) -> None:
    stage = Stage(url, reread=0.2)
    pipe = Pipe()
    reader = stage.watch(pipe=pipe)
    until(lambda: reader.follower.waiting)
    stage.write("before")
    until(lambda: reader.texts == ["before"])
    stage.link.client.flushall()
    until(lambda: reader.greenlet.dead)
    assert pipe.offered == 1
    assert [each["type"] for each in reader.events] == ["thread.updated", "reset"]
