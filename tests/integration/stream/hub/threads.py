"""A thread's stream: what it begins with, what comes, and how it ends."""

from __future__ import annotations

import time

import gevent
import gevent.event

from runtime.errors import StreamUnavailable
from runtime.events import Cursor
from runtime.model import new_id
from runtime.stream import Notices, OpenMessage
from runtime.testing.waiting import until
from tests.integration.stream.hub.stage import (
    AWKWARD,
    RUN,
    Reader,
    Stage,
    created,
    delta,
    encoded,
    event,
    kill_pubsub,
    scenario,
)


@scenario
def every_cut_point_resumes_to_the_stored_text(url: str) -> None:
    stage = Stage(url)
    stage.begin(event("run.started", "s"), created("m"))
    reader = stage.watch(Cursor(stage.log.cursor(stage.thread).epoch, 0))
    for n, text in enumerate(AWKWARD, 1):
        stage.append(delta("m", n, text))
    stage.append(event("run.completed", "end"))
    until(lambda: len(reader.events) == len(AWKWARD) + 3)
    everything = b"".join(reader.raw)
    assert "".join(map(str, reader.texts)) == "".join(AWKWARD)
    epoch = stage.log.cursor(stage.thread).epoch
    blocks = everything.split(b"\n\n")[:-1]
    for cut in range(len(blocks) + 1):
        late = stage.watch(Cursor(epoch, cut))
        until(lambda late=late, cut=cut: len(late.events) == len(blocks) - cut)
        assert b"".join([*(block + b"\n\n" for block in blocks[:cut]), *late.raw]) == everything
        late.stop()


@scenario
def a_stream_without_a_cursor_starts_now(url: str) -> None:
    stage = Stage(url)
    stage.write("before")
    reader = stage.watch()
    stage.write("after")
    until(lambda: reader.events)
    assert reader.texts == ["after"]


@scenario
def a_thousand_watchers_share_one_read_per_event(url: str) -> None:
    stage = Stage(url)
    readers = [stage.watch() for _ in range(1000)]
    before = stage.hub.stats().reads
    for number in range(20):
        stage.write(str(number))
        until(lambda number=number: all(len(reader.raw) > number for reader in readers))
    assert all(reader.texts == [str(number) for number in range(20)] for reader in readers)
    assert stage.hub.stats().reads - before <= 20
    assert stage.hub.stats()[:2] == (1000, 1)


@scenario
def small_entries_come_with_their_wake_up_and_large_ones_are_read(url: str) -> None:
    stage = Stage(url)
    reader = stage.watch()
    before = stage.hub.stats().reads
    for number in range(10):
        stage.write(str(number))
        until(lambda number=number: len(reader.events) == number + 1)
    assert stage.hub.stats().reads == before
    stage.write("x" * 100_000)
    until(lambda: len(reader.events) == 11)
    assert stage.hub.stats().reads == before + 1
    stage.write("after")
    until(lambda: len(reader.events) == 12)
    assert [str(text)[:5] for text in reader.texts[10:]] == ["xxxxx", "after"]


@scenario
def a_client_that_follows_a_reset_ends_with_the_right_text(url: str) -> None:
    """FLUSHALL in the middle of a message: the snapshot, then on from its cursor."""
    stage = Stage(url, reread=0.2)
    stage.begin(created("m"))
    reader = stage.watch()
    for n in range(1, 6):
        stage.append(delta("m", n, f"{n} "))
    until(lambda: len(reader.events) == 5)
    stage.link.client.flushall()
    stage.log.reopen(
        stage.thread,
        RUN,
        1,
        stage.number,
        [OpenMessage("m", RUN, 1, {}, "1 2 3 4 5 ", 5)],
    )
    stage.append(delta("m", 6, "6 "))
    until(lambda: reader.greenlet.dead)
    assert reader.events[-1]["reason"] == "epoch"

    cursor = stage.log.cursor(stage.thread)
    [snapshot] = stage.log.open_messages(stage.thread)
    stage.append(delta("m", 7, "7"))
    again = stage.watch(cursor)
    until(lambda: again.events)
    assert snapshot.text + "".join(map(str, again.texts)) == "1 2 3 4 5 6 7"


@scenario
def the_deletion_of_a_thread_ends_its_streams(url: str) -> None:
    stage = Stage(url)
    readers = [stage.watch(), stage.watch(run=RUN)]
    stage.log.announce(stage.thread, None, 0, [event("thread.deleted")])
    until(lambda: all(reader.greenlet.dead for reader in readers))
    assert [each["type"] for each in readers[0].events] == ["thread.deleted"]


@scenario
def a_silent_stream_beats_and_a_busy_one_does_not(url: str) -> None:
    stage = Stage(url, heartbeat=0.8)
    idle_thread = new_id()
    began = time.monotonic()
    idle = Reader(stage.hub, idle_thread, None)
    busy = stage.watch()
    written_at = time.monotonic()
    late = 0
    while idle.heartbeats < 3:
        stage.write("word")
        gevent.sleep(0.05)
        late += int((time.monotonic() - written_at) / 0.3)  # on a machine that had better things to do
        written_at = time.monotonic()
    assert busy.heartbeats <= late
    assert written_at - began >= 2 * 0.8


@scenario
def a_stream_that_is_closed_leaves_nothing_behind(url: str) -> None:
    stage = Stage(url)
    channel = f"branchline:wake:{stage.thread}"
    readers = [stage.watch() for _ in range(3)]
    assert dict(stage.link.client.pubsub_numsub(channel)) == {channel.encode(): 1}
    for reader in readers:
        reader.stop()
    assert stage.hub.stats()[:2] == (0, 0)
    until(lambda: dict(stage.link.client.pubsub_numsub(channel)) == {channel.encode(): 0})


@scenario
def closing_the_hub_ends_every_stream_and_refuses_new_ones(url: str) -> None:
    stage = Stage(url)
    readers = [stage.watch() for _ in range(10)]
    hints = stage.hub.hints("workspace")
    stage.hub.close()
    until(lambda: all(reader.greenlet.dead for reader in readers))
    assert list(hints) == []
    try:
        stage.watch()
    except StreamUnavailable:
        return
    raise AssertionError("a new stream was accepted")


@scenario
def hints_reach_every_reader_and_missed_ones_become_a_reload(url: str) -> None:
    stage = Stage(url)
    notices = Notices(stage.link)
    readers = [stage.hub.hints("mine") for _ in range(3)]
    [hint_feed] = stage.hub.hint_feeds
    notices.to_workspace("other", {"type": "run.changed"})
    notices.to_workspace("mine", {"type": "run.changed", "run_id": "r"})
    with gevent.Timeout(20):
        for reader in readers:
            assert (
                encoded(next(reader)) == b'event: run.changed\ndata: {"type":"run.changed","run_id":"r"}\n\n'
            )
        kill_pubsub(stage.link)
        for reader in readers:
            assert encoded(next(reader)) == b'event: reload\ndata: {"type":"reload"}\n\n'
        for number in range(300):
            notices.to_workspace("mine", {"type": "run.changed", "number": number})
        notices.to_workspace("mine", {"type": "last"})
        until(lambda: hint_feed.position == 303)
        assert encoded(next(readers[0])) == b'event: reload\ndata: {"type":"reload"}\n\n'
