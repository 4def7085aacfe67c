"""What test_hub.py runs, each in a process of its own: ``python -m gevent.monkey hub_scenarios.py NAME URL``.

The hub lives in a gevent process; pytest does not.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent
import gevent.event
import orjson
import redis

sys.path.insert(0, str(Path(__file__).parents[3]))

from runtime import settings as settings_module
from runtime.errors import StreamUnavailable
from runtime.events import Cursor, Event
from runtime.model import new_id
from runtime.stream import EventLog, Hub, Link, Notices, OpenMessage
from runtime.stream.hub import READERS
from runtime.stream.log import Chunk

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


class Stage:
    """One process's log and hub, and short ways to write."""

    def __init__(self, url: str, **stream: float) -> None:
        # Without a wake-up nothing is read for a minute, unless a scenario says otherwise.
        limits = replace(SETTINGS.stream, **{"reread": 60.0, **stream})  # type: ignore[arg-type]
        self.link = Link(url, replace(SETTINGS.redis, timeout=2.0))
        self.log = EventLog(self.link, SETTINGS.log)
        self.hub = Hub(self.log, self.link, limits)
        self.thread = new_id()
        self.number = 0

    def begin(self, *events: Event, run: str = RUN) -> None:
        self.log.begin(self.thread, run, 1, events)
        self.number = len(events)

    def append(self, *events: Event) -> None:
        self.log.append(self.thread, RUN, 1, self.number + 1, events)
        self.number += len(events)

    def say(self, text: str) -> None:
        """An event of the thread itself."""
        self.log.announce(self.thread, None, 0, [event("thread.updated", text=text)])

    def watch(self, cursor: Cursor | None = None, run: str | None = None, pipe: Pipe | None = None) -> Reader:
        return Reader(self.hub, self.thread, cursor, run, pipe)


class Pipe:
    """An outlet that takes each piece whole, in part or not at all, as it is told."""

    open = True

    def __init__(self, takes: Callable[[], float] = lambda: 1) -> None:
        self.raw: list[bytes] = []
        self.offered = 0
        self.reads = gevent.event.Event()
        """Set while the reader reads what remains."""
        self.reads.set()
        self._takes = takes
        self._rest = b""

    def offer(self, data: bytes) -> bool:
        assert not self._rest, "there is something before it"
        self.offered += 1
        taken = int(self._takes() * len(data))
        self.raw.append(data[:taken])
        self._rest = data[taken:]
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
        for data in self.follower:
            if data is None:
                self.heartbeats += 1
            else:
                self.raw.append(data)

    @property
    def events(self) -> list[dict[str, object]]:
        return parse(b"".join(self.raw))

    @property
    def texts(self) -> list[object]:
        return [one.get("text") for one in self.events]

    def stop(self) -> None:
        self.greenlet.kill()
        self.follower.close()


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


def every_cut_point_resumes_to_the_stored_text(url: str) -> None:
    stage = Stage(url)
    stage.begin(event("run.started", "s"), created("m"))
    reader = stage.watch(Cursor(stage.log.cursor(stage.thread).epoch, 0))
    for n, text in enumerate(AWKWARD, 1):
        stage.append(delta("m", n, text))
    stage.append(event("run.completed", "end"))
    until(lambda: len(reader.events) == len(AWKWARD) + 3)
    whole = b"".join(reader.raw)
    assert "".join(map(str, reader.texts)) == "".join(AWKWARD)
    epoch = stage.log.cursor(stage.thread).epoch
    blocks = whole.split(b"\n\n")[:-1]
    for cut in range(len(blocks) + 1):
        late = stage.watch(Cursor(epoch, cut))
        until(lambda late=late, cut=cut: len(late.events) == len(blocks) - cut)
        assert b"".join([*(block + b"\n\n" for block in blocks[:cut]), *late.raw]) == whole
        late.stop()


def a_stream_without_a_cursor_starts_now(url: str) -> None:
    stage = Stage(url)
    stage.say("before")
    reader = stage.watch()
    stage.say("after")
    until(lambda: reader.events)
    assert reader.texts == ["after"]


def a_thousand_watchers_share_one_read_per_event(url: str) -> None:
    stage = Stage(url)
    readers = [stage.watch() for _ in range(1000)]
    before = stage.hub.stats().reads
    for number in range(20):
        stage.say(str(number))
        until(lambda number=number: all(len(reader.raw) > number for reader in readers))
    assert all(reader.texts == [str(number) for number in range(20)] for reader in readers)
    assert stage.hub.stats().reads - before <= 20
    assert stage.hub.stats()[:2] == (1000, 1)


def what_is_little_comes_with_its_wake_up_and_what_is_much_is_read(url: str) -> None:
    stage = Stage(url)
    reader = stage.watch()
    before = stage.hub.stats().reads
    for number in range(10):
        stage.say(str(number))
        until(lambda number=number: len(reader.events) == number + 1)
    assert stage.hub.stats().reads == before
    stage.say("x" * 100_000)
    until(lambda: len(reader.events) == 11)
    assert stage.hub.stats().reads == before + 1
    stage.say("after")
    until(lambda: len(reader.events) == 12)
    assert [str(text)[:5] for text in reader.texts[10:]] == ["xxxxx", "after"]


def wake_ups_that_are_doubled_late_or_senseless_change_nothing(url: str) -> None:
    stage = Stage(url, reread=0.2)
    heard, chance = stage.hub._subscriber._heard, random.Random(5)
    kept: list[bytes] = []

    def unreliable(channel: str, message: bytes) -> None:
        kept.append(message)
        told = (chance.choice(kept), message, b"", b"what\nis this", chance.choice(kept))
        for one in told[chance.randrange(3) :]:
            heard(channel, one)

    stage.hub._subscriber._heard = unreliable
    readers = [stage.watch() for _ in range(5)]
    for number in range(300):
        stage.say(str(number))
    until(lambda: all(len(reader.events) == 300 for reader in readers))
    assert all(reader.texts == [str(number) for number in range(300)] for reader in readers)


def watchers_of_a_run_share_its_beginning(url: str) -> None:
    stage = Stage(url)
    stage.say("before the run")
    stage.log.announce(stage.thread, RUN, 0, [event("run.queued", "q", text="queued", attempt=0)])
    stage.begin(event("run.started", "s", text="started"))
    followers = [stage.hub.follow_run(stage.thread, RUN) for _ in range(50)]
    now = stage.watch()
    stage.append(event("run.completed", "e", text="completed"))
    for follower in followers:
        assert follower is not None
        found = parse(b"".join(data for data in follower if data))
        assert [one["text"] for one in found] == ["queued", "started", "completed"]
    until(lambda: now.texts == ["completed"])
    assert stage.hub.stats().reads == 0


def a_run_that_the_log_does_not_have_or_that_is_long_is_left_to_its_caller(url: str) -> None:
    stage = Stage(url)
    assert stage.hub.follow_run(stage.thread, "unknown") is None
    stage.log.announce(stage.thread, RUN, 0, [event("run.queued", "q", attempt=0)])
    for number in range(600):
        stage.say(str(number))
    assert stage.hub.follow_run(stage.thread, RUN) is None
    assert stage.hub.stats()[:2] == (0, 0)
    now = stage.watch()
    stage.say("after")
    until(lambda: now.texts == ["after"])


def a_wake_up_that_is_lost_is_made_up_for(url: str) -> None:
    stage = Stage(url, reread=0.2)
    stage.hub._subscriber._heard = lambda channel, message: None
    reader = stage.watch()
    for number in range(5):
        stage.say(str(number))
        until(lambda number=number: len(reader.events) == number + 1)
    assert reader.texts == ["0", "1", "2", "3", "4"]


def random_lost_wake_ups_leave_no_gap(url: str) -> None:
    stage = Stage(url, reread=0.2)
    heard, chance = stage.hub._subscriber._heard, random.Random(3)
    stage.hub._subscriber._heard = lambda *of: heard(*of) if chance.random() < 0.5 else None
    readers = [stage.watch() for _ in range(20)]
    for number in range(300):
        stage.say(str(number))
    until(lambda: all(len(reader.events) == 300 for reader in readers))
    assert all(reader.texts == [str(number) for number in range(300)] for reader in readers)


def killed_pub_sub_connections_leave_no_gap(url: str) -> None:
    stage = Stage(url)
    readers = [stage.watch() for _ in range(20)]
    for number in range(200):
        stage.say(str(number))
        if number % 20 == 10:
            kill_pubsub(stage.link)
    until(lambda: all(len(reader.events) == 200 for reader in readers))
    assert all(reader.texts == [str(number) for number in range(200)] for reader in readers)


def a_stream_may_follow_at_once_on_the_last_one_of_its_thread(url: str) -> None:
    stage = Stage(url)
    for number in range(20):
        follower = stage.hub.follow(stage.thread, None)
        stage.say(str(number))
        data = next(follower)
        assert data is not None and [one["text"] for one in parse(data)] == [str(number)]
        follower.close()


def streams_that_come_and_go_miss_no_wake_up(url: str) -> None:
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
            stage.say(mark)
            until(lambda mark=mark, reader=reader: mark in reader.texts, 5)
            seqs = [one["seq"] for one in reader.events]
            assert seqs == list(range(int(str(seqs[0])), int(str(seqs[0])) + len(seqs)))
            reader.stop()
            rounds += 1

    gevent.joinall([gevent.spawn(come_and_go, seed) for seed in range(5)], raise_error=True)
    assert rounds > 50
    assert stage.hub.stats()[:2] == (0, 0)


def a_slow_client_catches_up_without_a_gap(url: str) -> None:
    stage = Stage(url, ring=4)
    follower = stage.hub.follow(stage.thread, None)
    quick = stage.watch()
    for number in range(500):
        stage.say(str(number))
    until(lambda: len(quick.events) == 500)
    feed = follower._feed
    assert len(feed._ring) <= 8
    got = b""
    while len(parse(got)) < 500:
        data = next(follower)
        assert data is not None
        got += data
    assert [one["text"] for one in parse(got)] == [str(number) for number in range(500)]


def a_crowd_that_reads_for_itself_leaves_connections_to_others(url: str) -> None:
    stage = Stage(url, ring=1)
    stage.begin()
    for number in range(5):
        stage.say(str(number))
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


def what_is_kept_in_memory_is_bounded_in_bytes(url: str) -> None:
    stage = Stage(url, reread=0.2)
    slow = stage.hub.follow(stage.thread, None)
    for number in range(12):
        stage.say("x" * 500_000 + str(number))
    until(lambda: slow._feed.cursor and slow._feed.cursor.seq == 12)
    assert sum(len(entry.sse) for entry in slow._feed._ring) <= 1 << 20
    until(lambda: not slow._feed._ring)  # nothing happens any more: nothing is kept
    received = []
    while len(received) < 12:
        data = next(slow)
        assert data is not None and len(data) < 2 << 20
        received += parse(data)
    assert [str(one["text"])[500_000:] for one in received] == [str(number) for number in range(12)]


def a_trimmed_log_resets_a_slow_client(url: str) -> None:
    stage = Stage(url)
    stage.log._limits = replace(SETTINGS.log, entries=100)
    slow = stage.hub.follow(stage.thread, None)
    for number in range(3000):
        stage.say(str(number))
    until(lambda: slow._feed.cursor and slow._feed.cursor.seq == 3000)
    slow._feed.forget()
    data = list(slow)
    assert data[-1] is not None
    assert [(one["type"], one["reason"]) for one in parse(data[-1])] == [("reset", "trimmed")]
    assert slow.reset == "trimmed"


def a_flush_ends_idle_streams_with_a_reset(url: str) -> None:
    stage = Stage(url, reread=0.2)
    stage.say("before")
    reader = stage.watch()
    stage.link.client.flushall()
    until(lambda: reader.greenlet.dead)
    assert [(one["type"], one["reason"]) for one in reader.events] == [("reset", "epoch")]
    again = stage.watch()
    stage.say("after")
    until(lambda: again.texts == ["after"])


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


def what_is_new_passes_by_a_greenlet_that_waits(url: str) -> None:
    stage = Stage(url)
    pipes = [Pipe() for _ in range(50)]
    readers = [stage.watch(pipe=pipe) for pipe in pipes]
    until(lambda: all(reader.follower._waiter for reader in readers))
    for number in range(20):
        stage.say(str(number))
        until(lambda number=number: all(len(pipe.raw) > number for pipe in pipes))
    assert all(pipe.offered == 20 for pipe in pipes)
    assert all(reader.texts == [str(number) for number in range(20)] for reader in readers)
    assert all(pipe.raw[-1] is pipes[0].raw[-1] for pipe in pipes)  # put together once
    head = stage.log.cursor(stage.thread)
    assert all(reader.follower.cursor == head for reader in readers)


def a_run_that_passes_by_its_greenlet_has_its_entries_only_and_ends(url: str) -> None:
    stage = Stage(url)
    pipe = Pipe()
    mine = stage.watch(Cursor(stage.log.cursor(stage.thread).epoch, 0), RUN, pipe)
    until(lambda: mine.follower._waiter)
    stage.begin(event("run.started", "s", text="mine"))
    until(lambda: pipe.offered == 1)
    stage.say("thread")
    stage.append(event("run.step", "1", text="more"))
    until(lambda: pipe.offered == 2)
    stage.say("thread")
    stage.append(event("run.completed", "e", text="end"))
    until(lambda: mine.greenlet.dead)
    assert mine.texts == ["mine", "more", "end"]
    assert pipe.offered == 2


def a_run_is_read_on_behind_much_that_is_of_others(url: str) -> None:
    stage = Stage(url, ring=4, heartbeat=60)
    start = stage.log.cursor(stage.thread)
    stage.begin(event("run.started", "s", text="mine"))
    for number in range(350):
        stage.say(str(number))
    stage.append(event("run.completed", "e", text="end"))

    mine = stage.watch(start, RUN)
    until(lambda: mine.greenlet.dead)
    assert mine.texts == ["mine", "end"]


def nothing_is_sent_before_what_remains(url: str) -> None:
    stage = Stage(url)
    pipe = Pipe(takes=lambda: 0.5)
    reader = stage.watch(pipe=pipe)
    quick = stage.watch()
    until(lambda: reader.follower._waiter)
    pipe.reads.clear()
    for number in range(10):
        stage.say(str(number))
        until(lambda number=number: len(quick.events) == number + 1)
    assert (pipe.offered, len(pipe.raw)) == (1, 1)
    pipe.reads.set()
    until(lambda: len(reader.events) == 10)
    assert b"".join(reader.raw) == b"".join(quick.raw)
    reader.follower.close()
    until(lambda: reader.greenlet.dead)


def readers_that_take_what_they_like_miss_nothing(url: str) -> None:
    stage = Stage(url, reread=0.2, heartbeat=0.1, ring=4)
    chance = random.Random(7)
    heard = stage.hub._subscriber._heard
    stage.hub._subscriber._heard = lambda *of: heard(*of) if chance.random() < 0.8 else None
    pipes = [Pipe(takes=lambda: chance.choice((0, 0.3, 1, 1, 1))) for _ in range(20)]
    readers = [stage.watch(pipe=pipe) for pipe in pipes]
    said = 0
    while said < 300 or not any(pipe.offered for pipe in pipes):  # where all is late, nothing passes by
        stage.say(str(said))
        said += 1
        for pipe in pipes:
            if chance.random() < 0.3:
                pipe.reads.clear()
            else:
                pipe.reads.set()
    for pipe in pipes:
        pipe.reads.set()
    until(lambda: all(len(reader.events) == said for reader in readers))
    assert all(reader.texts == [str(number) for number in range(said)] for reader in readers)


def a_greenlet_has_its_turn_however_much_passes_by_it(url: str) -> None:
    stage = Stage(url, heartbeat=0.2)
    pipe = Pipe()
    reader = stage.watch(pipe=pipe)
    until(lambda: reader.follower._waiter)
    said: list[str] = []
    while len(pipe.raw) - pipe.offered + reader.heartbeats < 3:
        said.append(str(len(said)))
        stage.say(said[-1])
        until(lambda: len(reader.events) == len(said))
    assert pipe.offered
    assert reader.texts == said


def a_closed_outlet_is_not_used(url: str) -> None:
    stage = Stage(url)
    pipe = Pipe()
    pipe.open = False
    reader = stage.watch(pipe=pipe)
    stage.say("one")
    until(lambda: reader.texts == ["one"])
    assert pipe.offered == 0


def a_reader_without_a_place_in_the_log_is_told_so(url: str) -> None:
    stage = Stage(url, reread=0.2)
    pipe = Pipe()
    reader = stage.watch(pipe=pipe)
    until(lambda: reader.follower._waiter)
    stage.say("before")
    until(lambda: reader.texts == ["before"])
    stage.link.client.flushall()
    until(lambda: reader.greenlet.dead)
    assert pipe.offered == 1
    assert [one["type"] for one in reader.events] == ["thread.updated", "reset"]


def a_stream_of_a_run_has_its_entries_only_and_ends(url: str) -> None:
    stage = Stage(url)
    epoch = stage.log.cursor(stage.thread).epoch
    mine = stage.watch(Cursor(epoch, 0), run=RUN)
    stage.begin(event("run.started", "s", text="mine"))
    stage.log.begin(stage.thread, "other", 1, [event("run.started", "s", text="other")])
    stage.say("thread")
    stage.log.append(stage.thread, "other", 1, 2, [event("run.completed", "e", text="other")])
    stage.append(event("run.completed", "e", text="mine"))
    stage.say("later")
    until(lambda: mine.greenlet.dead)
    assert [(one["type"], one["text"]) for one in mine.events] == [
        ("run.started", "mine"),
        ("run.completed", "mine"),
    ]
    assert mine.follower.reset is None


def a_stream_of_a_run_leaves_the_reset_to_its_caller(url: str) -> None:
    stage = Stage(url, reread=0.2)
    stage.begin(event("run.started", "s"))
    reader = stage.watch(run=RUN)
    stage.link.client.flushall()
    until(lambda: reader.greenlet.dead)
    assert reader.events == []
    assert reader.follower.reset == "epoch"


def the_deletion_of_a_thread_ends_its_streams(url: str) -> None:
    stage = Stage(url)
    readers = [stage.watch(), stage.watch(run=RUN)]
    stage.log.announce(stage.thread, None, 0, [event("thread.deleted")])
    until(lambda: all(reader.greenlet.dead for reader in readers))
    assert [one["type"] for one in readers[0].events] == ["thread.deleted"]


def a_silent_stream_beats_and_a_busy_one_does_not(url: str) -> None:
    stage = Stage(url, heartbeat=0.4)
    idle_thread = new_id()
    began = time.monotonic()
    idle = Reader(stage.hub, idle_thread, None)
    busy = stage.watch()
    said_at = time.monotonic()
    late = 0
    while idle.heartbeats < 3:
        stage.say("word")
        gevent.sleep(0.05)
        late += int((time.monotonic() - said_at) / 0.3)  # on a machine that had better things to do
        said_at = time.monotonic()
    assert busy.heartbeats <= late
    assert said_at - began >= 2 * 0.4


def a_stream_that_is_closed_leaves_nothing_behind(url: str) -> None:
    stage = Stage(url)
    channel = f"branchline:wake:{stage.thread}"
    readers = [stage.watch() for _ in range(3)]
    assert dict(stage.link.client.pubsub_numsub(channel)) == {channel.encode(): 1}
    for reader in readers:
        reader.stop()
    assert stage.hub.stats()[:2] == (0, 0)
    until(lambda: dict(stage.link.client.pubsub_numsub(channel)) == {channel.encode(): 0})


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


def hints_reach_everybody_and_a_missed_one_is_told(url: str) -> None:
    stage = Stage(url)
    notices = Notices(stage.link)
    readers = [stage.hub.hints("mine") for _ in range(3)]
    notices.to_workspace("other", {"type": "run.changed"})
    notices.to_workspace("mine", {"type": "run.changed", "run_id": "r"})
    with gevent.Timeout(5):
        for reader in readers:
            assert next(reader) == b'event: run.changed\ndata: {"type":"run.changed","run_id":"r"}\n\n'
        kill_pubsub(stage.link)
        for reader in readers:
            assert next(reader) == b'event: reload\ndata: {"type":"reload"}\n\n'
        for number in range(300):
            notices.to_workspace("mine", {"type": "run.changed", "number": number})
        notices.to_workspace("mine", {"type": "last"})
        until(lambda: readers[0]._board.seq == 303)  # type: ignore[attr-defined]
        assert next(readers[0]) == b'event: reload\ndata: {"type":"reload"}\n\n'


def a_redis_that_is_away_refuses_streams_at_once(url: str) -> None:
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


def a_restart_of_redis_resets_streams(url: str) -> None:
    """The test restarts Redis between the two lines that this prints."""
    stage = Stage(url, heartbeat=0.3)
    stage.say("before")
    reader = stage.watch()
    print("ready", flush=True)
    sys.stdin.readline()
    until(lambda: reader.greenlet.dead)
    assert [(one["type"], one["reason"]) for one in reader.events] == [("reset", "epoch")]
    again = stage.watch()
    stage.say("after")
    until(lambda: again.texts == ["after"])


def streams_outlive_a_redis_that_does_not_answer_for_a_while(url: str) -> None:
    stage = Stage(url, heartbeat=0.3)
    reader = stage.watch()
    with redis.Redis.from_url(url) as admin:
        admin.execute_command("CLIENT", "PAUSE", "1500", "ALL")
    gevent.spawn(lambda: redis.Redis.from_url(url).publish(f"branchline:wake:{stage.thread}", "x"))
    until(lambda: reader.heartbeats >= 2)
    stage.say("after")
    until(lambda: reader.texts == ["after"])


if __name__ == "__main__":
    with gevent.Timeout(50):
        globals()[sys.argv[1]](sys.argv[2])
    print("ok")
