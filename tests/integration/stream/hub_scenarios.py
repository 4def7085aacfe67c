"""The scenarios of test_hub.py, each of which runs in a process of its own.

The hub lives in a gevent process; pytest does not. test_hub.py starts
``python -m gevent.monkey --module tests.integration.stream.hub_scenarios NAME URL``.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import gevent
import gevent.event
import orjson
import redis

from runtime import settings as settings_module
from runtime.duties import Duties
from runtime.errors import StreamUnavailable
from runtime.events import Cursor, Event
from runtime.model import new_id
from runtime.stream import Batch, Chunk, EventLog, Hub, Link, Notices, OpenMessage
from runtime.stream.feed import Feed
from runtime.stream.hub import READERS
from web.streaming.sse import encode_sse

SETTINGS = settings_module.load({})
RUN = "run-1"
AWKWARD = [
    "  leading",
    "\n",
    "\n\n",
    "",
    " ",
    "\u2028",
    "\r\n",
    '"q"',
    "\\n",
    "\U0001f469",
    "\u200d",
    "\U0001f52c",
    "\x00",
]


Scenario = Callable[[str], None]
Deliver = Callable[[str, bytes], None]

SCENARIOS: dict[str, Scenario] = {}
"""Every scenario by its name; it is given the address of a Redis."""


def scenario(function: Scenario) -> Scenario:
    """Make a function a scenario."""
    SCENARIOS[function.__name__] = function
    return function


class Stage:
    """One process's log and hub, and short ways to write."""

    def __init__(self, url: str, **stream: float) -> None:
        # Without a wake-up nothing is read for a minute, unless a scenario says otherwise.
        limits = replace(SETTINGS.stream, **{"reread": 60.0, **stream})  # type: ignore[arg-type]
        self.link = Link(url, replace(SETTINGS.redis, timeout=2.0))
        self.log = EventLog(self.link, SETTINGS.log)
        self.hub = Hub(self.log, self.link, limits, Duties())
        self.thread = new_id()
        self.number = 0

    def begin(self, *events: Event, run: str = RUN) -> None:
        self.log.begin(self.thread, run, 1, events)
        self.number = len(events)

    def append(self, *events: Event) -> None:
        self.log.append(self.thread, RUN, 1, self.number + 1, events)
        self.number += len(events)

    def write(self, text: str) -> None:
        """An event of the thread itself."""
        self.log.announce(self.thread, None, 0, [event("thread.updated", text=text)])

    @property
    def feed(self) -> Feed:
        """The feed of the thread, which has watchers."""
        [feed] = self.hub.feeds
        return feed

    def intercept(self, handle: Callable[[Deliver, str, bytes], None]) -> None:
        """Let ``handle`` decide what the hub gets of the messages that Redis publishes.

        It replaces a private attribute: no Redis loses, doubles or garbles messages on demand.
        """
        subscriber = self.hub._subscriber
        subscriber._on_message = partial(handle, subscriber._on_message)

    def watch(self, cursor: Cursor | None = None, run: str | None = None, pipe: Pipe | None = None) -> Reader:
        return Reader(self.hub, self.thread, cursor, run, pipe)


class Pipe:
    """A direct writer that accepts all, a part or nothing of each batch, as ``accepts`` says."""

    open = True

    def __init__(self, accepts: Callable[[], float] = lambda: 1) -> None:
        self.raw: list[bytes] = []
        self.offered = 0
        self.reads = gevent.event.Event()
        """Set while the reader reads what remains."""
        self.reads.set()
        self._accepts = accepts
        self._rest = b""

    def offer(self, batch: Batch) -> bool:
        assert not self._rest, "there is something before it"
        data = batch.encoded(encode_sse)
        self.offered += 1
        accepted = int(self._accepts() * len(data))
        self.raw.append(data[:accepted])
        self._rest = data[accepted:]
        return not self._rest

    def finish(self) -> None:
        if self._rest:
            self.reads.wait()
            self.raw.append(self._rest)
            self._rest = b""


class Reader:
    """A client that keeps up: what it has received so far."""

    def __init__(
        self,
        hub: Hub,
        thread: str,
        cursor: Cursor | None,
        run: str | None = None,
        pipe: Pipe | None = None,
    ) -> None:
        self.follower = hub.follow(thread, cursor, run, pipe)
        self.raw: list[bytes] = pipe.raw if pipe else []
        self.heartbeats = 0
        self.greenlet = gevent.spawn(self._read)

    def _read(self) -> None:
        for batch in self.follower:
            if batch is None:
                self.heartbeats += 1
            else:
                self.raw.append(batch.encoded(encode_sse))

    @property
    def events(self) -> list[dict[str, object]]:
        return parse(b"".join(self.raw))

    @property
    def texts(self) -> list[object]:
        return [each.get("text") for each in self.events]

    def stop(self) -> None:
        self.greenlet.kill()
        self.follower.close()


def encoded(batch: Batch | None) -> bytes:
    assert batch is not None
    return batch.encoded(encode_sse)


def parse(stream: bytes) -> list[dict[str, object]]:
    """The events of a stream; checks that id, type and number say the same."""
    found = []
    for block in stream.decode().split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        data = orjson.loads(fields["data"])
        assert data["type"] == fields["event"], block
        if fields["event"] != "reset":
            assert str(data["seq"]) == fields["id"].split(":")[1], block
        found.append(data)
    return found


def event(type: str, key: str = "", of: str = "", text: str = "", n: int = 0, **more: object) -> Event:
    return Event(
        type,
        orjson.dumps({"type": type, "text": text, "n": n, **more}),
        key,
        of,
        text,
        n,
    )


def created(message: str) -> Event:
    return event(
        "message.created",
        f"message.created:{message}:1",
        message,
        run_id=RUN,
        attempt=1,
        message={},
    )


def delta(message: str, n: int, text: str) -> Event:
    return event("message.delta", "", message, text, n)


def until(true: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not become true in time"
        gevent.sleep(0.005)


def kill_pubsub(link: Link) -> None:
    link.client.client_kill_filter(_type="pubsub")


# ── scenarios ──


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
def duplicate_late_and_malformed_wake_ups_change_nothing(url: str) -> None:
    stage = Stage(url, reread=0.2)
    chance = random.Random(5)
    kept: list[bytes] = []

    def garble(deliver: Deliver, channel: str, message: bytes) -> None:
        kept.append(message)
        delivered = (chance.choice(kept), message, b"", b"what\nis this", chance.choice(kept))
        for each in delivered[chance.randrange(3) :]:
            deliver(channel, each)

    stage.intercept(garble)
    readers = [stage.watch() for _ in range(5)]
    for number in range(300):
        stage.write(str(number))
    until(lambda: all(len(reader.events) == 300 for reader in readers))
    assert all(reader.texts == [str(number) for number in range(300)] for reader in readers)


@scenario
def watchers_of_a_run_share_its_beginning(url: str) -> None:
    stage = Stage(url)
    stage.write("before the run")
    stage.log.announce(stage.thread, RUN, 0, [event("run.queued", "q", text="queued", attempt=0)])
    stage.begin(event("run.started", "s", text="started"))
    followers = [stage.hub.follow_run(stage.thread, RUN) for _ in range(50)]
    now = stage.watch()
    stage.append(event("run.completed", "e", text="completed"))
    for follower in followers:
        assert follower is not None
        found = parse(b"".join(encoded(batch) for batch in follower if batch))
        assert [each["text"] for each in found] == ["queued", "started", "completed"]
    until(lambda: now.texts == ["completed"])
    assert stage.hub.stats().reads == 0


@scenario
def a_run_that_is_missing_or_long_is_left_to_the_caller_of_follow_run(url: str) -> None:
    stage = Stage(url)
    assert stage.hub.follow_run(stage.thread, "unknown") is None
    stage.log.announce(stage.thread, RUN, 0, [event("run.queued", "q", attempt=0)])
    for number in range(600):
        stage.write(str(number))
    assert stage.hub.follow_run(stage.thread, RUN) is None
    assert stage.hub.stats()[:2] == (0, 0)
    now = stage.watch()
    stage.write("after")
    until(lambda: now.texts == ["after"])


@scenario
def a_lost_wake_up_is_found_by_rereading(url: str) -> None:
    stage = Stage(url, reread=0.2)
    stage.intercept(lambda deliver, channel, message: None)
    reader = stage.watch()
    for number in range(5):
        stage.write(str(number))
        until(lambda number=number: len(reader.events) == number + 1)
    assert reader.texts == ["0", "1", "2", "3", "4"]


@scenario
def wake_ups_lost_at_random_leave_no_gap(url: str) -> None:
    stage = Stage(url, reread=0.2)
    chance = random.Random(3)
    stage.intercept(lambda deliver, *message: deliver(*message) if chance.random() < 0.5 else None)
    readers = [stage.watch() for _ in range(20)]
    for number in range(300):
        stage.write(str(number))
    until(lambda: all(len(reader.events) == 300 for reader in readers))
    assert all(reader.texts == [str(number) for number in range(300)] for reader in readers)


@scenario
def killed_pub_sub_connections_leave_no_gap(url: str) -> None:
    stage = Stage(url)
    readers = [stage.watch() for _ in range(20)]
    for number in range(200):
        stage.write(str(number))
        if number % 20 == 10:
            kill_pubsub(stage.link)
    until(lambda: all(len(reader.events) == 200 for reader in readers))
    assert all(reader.texts == [str(number) for number in range(200)] for reader in readers)


@scenario
def a_stream_opens_right_after_the_last_one_of_its_thread_closed(url: str) -> None:
    stage = Stage(url)
    for number in range(20):
        follower = stage.hub.follow(stage.thread, None)
        stage.write(str(number))
        assert [each["text"] for each in parse(encoded(next(follower)))] == [str(number)]
        follower.close()


@scenario
def streams_that_open_and_close_miss_no_wake_up(url: str) -> None:
    stage = Stage(url)
    stop = time.monotonic() + 3
    rounds = 0

    def come_and_go(seed: int) -> None:
        nonlocal rounds
        chance = random.Random(seed)
        while time.monotonic() < stop or rounds <= 50:
            reader = stage.watch()
            mark = f"{seed}-{rounds}"
            if chance.random() < 0.5:
                gevent.sleep(0)
            stage.write(mark)
            until(lambda mark=mark, reader=reader: mark in reader.texts, 5)
            seqs = [each["seq"] for each in reader.events]
            assert seqs == list(range(int(str(seqs[0])), int(str(seqs[0])) + len(seqs)))
            reader.stop()
            rounds += 1

    gevent.joinall([gevent.spawn(come_and_go, seed) for seed in range(5)], raise_error=True)
    assert rounds > 50
    assert stage.hub.stats()[:2] == (0, 0)


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
def new_entries_are_written_directly_while_the_greenlet_waits(url: str) -> None:
    stage = Stage(url)
    pipes = [Pipe() for _ in range(50)]
    readers = [stage.watch(pipe=pipe) for pipe in pipes]
    until(lambda: all(reader.follower.waiting for reader in readers))
    for number in range(20):
        stage.write(str(number))
        until(lambda number=number: all(len(pipe.raw) > number for pipe in pipes))
    assert all(pipe.offered == 20 for pipe in pipes)
    assert all(reader.texts == [str(number) for number in range(20)] for reader in readers)
    assert all(pipe.raw[-1] is pipes[0].raw[-1] for pipe in pipes)  # put together once
    head = stage.log.cursor(stage.thread)
    assert all(reader.follower.cursor == head for reader in readers)


@scenario
def a_directly_written_run_has_its_entries_only_and_ends(url: str) -> None:
    stage = Stage(url)
    pipe = Pipe()
    mine = stage.watch(Cursor(stage.log.cursor(stage.thread).epoch, 0), RUN, pipe)
    until(lambda: mine.follower.waiting)
    stage.begin(event("run.started", "s", text="mine"))
    until(lambda: pipe.offered == 1)
    stage.write("thread")
    stage.append(event("run.step", "1", text="more"))
    until(lambda: pipe.offered == 2)
    stage.write("thread")
    stage.append(event("run.completed", "e", text="end"))
    until(lambda: mine.greenlet.dead)
    assert mine.texts == ["mine", "more", "end"]
    assert pipe.offered == 2


@scenario
def a_run_is_read_on_behind_many_entries_of_others(url: str) -> None:
    stage = Stage(url, ring=4, heartbeat=60)
    start = stage.log.cursor(stage.thread)
    stage.begin(event("run.started", "s", text="mine"))
    for number in range(350):
        stage.write(str(number))
    stage.append(event("run.completed", "e", text="end"))

    mine = stage.watch(start, RUN)
    until(lambda: mine.greenlet.dead)
    assert mine.texts == ["mine", "end"]


@scenario
def nothing_is_sent_before_the_rest_of_a_batch(url: str) -> None:
    stage = Stage(url)
    pipe = Pipe(accepts=lambda: 0.5)
    reader = stage.watch(pipe=pipe)
    quick = stage.watch()
    until(lambda: reader.follower.waiting)
    pipe.reads.clear()
    for number in range(10):
        stage.write(str(number))
        until(lambda number=number: len(quick.events) == number + 1)
    assert (pipe.offered, len(pipe.raw)) == (1, 1)
    pipe.reads.set()
    until(lambda: len(reader.events) == 10)
    assert b"".join(reader.raw) == b"".join(quick.raw)
    reader.follower.close()
    until(lambda: reader.greenlet.dead)


@scenario
def readers_that_accept_parts_of_batches_miss_nothing(url: str) -> None:
    stage = Stage(url, reread=0.2, heartbeat=0.1, ring=4)
    chance = random.Random(7)
    stage.intercept(lambda deliver, *message: deliver(*message) if chance.random() < 0.8 else None)
    pipes = [Pipe(accepts=lambda: chance.choice((0, 0.3, 1, 1, 1))) for _ in range(20)]
    readers = [stage.watch(pipe=pipe) for pipe in pipes]
    written = 0
    while written < 300 or not any(pipe.offered for pipe in pipes):  # where all is late, nothing passes by
        stage.write(str(written))
        written += 1
        for pipe in pipes:
            if chance.random() < 0.3:
                pipe.reads.clear()
            else:
                pipe.reads.set()
    for pipe in pipes:
        pipe.reads.set()
    until(lambda: all(len(reader.events) == written for reader in readers))
    assert all(reader.texts == [str(number) for number in range(written)] for reader in readers)


@scenario
def a_greenlet_gets_its_heartbeat_however_much_is_written_directly(url: str) -> None:
    stage = Stage(url, heartbeat=0.2)
    pipe = Pipe()
    reader = stage.watch(pipe=pipe)
    until(lambda: reader.follower.waiting)
    written: list[str] = []
    while len(pipe.raw) - pipe.offered + reader.heartbeats < 3:
        written.append(str(len(written)))
        stage.write(written[-1])
        until(lambda: len(reader.events) == len(written))
    assert pipe.offered
    assert reader.texts == written


@scenario
def a_closed_writer_is_not_used(url: str) -> None:
    stage = Stage(url)
    pipe = Pipe()
    pipe.open = False
    reader = stage.watch(pipe=pipe)
    stage.write("one")
    until(lambda: reader.texts == ["one"])
    assert pipe.offered == 0


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


@scenario
def a_stream_of_a_run_has_its_entries_only_and_ends(url: str) -> None:
    stage = Stage(url)
    epoch = stage.log.cursor(stage.thread).epoch
    mine = stage.watch(Cursor(epoch, 0), run=RUN)
    stage.begin(event("run.started", "s", text="mine"))
    stage.log.begin(stage.thread, "other", 1, [event("run.started", "s", text="other")])
    stage.write("thread")
    stage.log.append(stage.thread, "other", 1, 2, [event("run.completed", "e", text="other")])
    stage.append(event("run.completed", "e", text="mine"))
    stage.write("later")
    until(lambda: mine.greenlet.dead)
    assert [(each["type"], each["text"]) for each in mine.events] == [
        ("run.started", "mine"),
        ("run.completed", "mine"),
    ]
    assert mine.follower.reset is None


@scenario
def a_stream_of_a_run_leaves_the_reset_to_its_caller(url: str) -> None:
    stage = Stage(url, reread=0.2)
    stage.begin(event("run.started", "s"))
    reader = stage.watch(run=RUN)
    stage.link.client.flushall()
    until(lambda: reader.greenlet.dead)
    assert reader.events == []
    assert reader.follower.reset == "epoch"


@scenario
def the_deletion_of_a_thread_ends_its_streams(url: str) -> None:
    stage = Stage(url)
    readers = [stage.watch(), stage.watch(run=RUN)]
    stage.log.announce(stage.thread, None, 0, [event("thread.deleted")])
    until(lambda: all(reader.greenlet.dead for reader in readers))
    assert [each["type"] for each in readers[0].events] == ["thread.deleted"]


@scenario
def a_silent_stream_beats_and_a_busy_one_does_not(url: str) -> None:
    stage = Stage(url, heartbeat=0.4)
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
    assert written_at - began >= 2 * 0.4


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
    with gevent.Timeout(5):
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


@scenario
def a_stream_is_refused_at_once_while_redis_is_away(url: str) -> None:
    """The address is that of nobody."""
    stage = Stage("redis://127.0.0.1:1/0")
    started = time.monotonic()
    try:
        stage.watch()
    except StreamUnavailable:
        assert time.monotonic() - started < 4
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


if __name__ == "__main__":
    with gevent.Timeout(50):
        SCENARIOS[sys.argv[1]](sys.argv[2])
    print("ok")
