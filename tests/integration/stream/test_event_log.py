"""The event log against a real Redis: numbers without holes, fences, resends, epochs, open text."""

from __future__ import annotations

import itertools
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import orjson
import pytest
import redis

from runtime.errors import LogLost, StaleAttempt, StreamUnavailable
from runtime.events import Cursor, Event
from runtime.model import new_id
from runtime.settings import Settings
from runtime.stream import Chunk, EventLog, Hint, Link, OpenMessage, Span
from runtime.stream.entries import decode_wakeup
from runtime.stream.keys import Keys
from runtime.testing.redis_server import RedisServer

RUN = "run-1"
AWKWARD = [
    "  leading", "\n", "\n\n", "", " ", "\u2028", "\u2029", "\r\n", "{}", '"quoted"', "\\n", "\t",
    "\U0001f469", "\u200d", "\U0001f52c", "e", "\u0301", "data: x\n\n", "%s %1", "trailing  ", "\x00",
]  # fmt: skip


@pytest.fixture
def log(link: Link, settings: Settings) -> EventLog:
    return EventLog(link, settings.log)


def event(type: str, key: str = "", of: str = "", text: str = "", n: int = 0, **more: object) -> Event:
    payload = orjson.dumps({"type": type, "run_id": RUN, "text": text, "n": n, **more})
    return Event(type, payload, key, of, text, n)


def queued() -> Event:
    return event("run.queued", "run.queued:0")


def started(attempt: int = 1) -> Event:
    return event("run.started", f"run.started:{attempt}")


def created(message: str, attempt: int = 1) -> Event:
    more = {"attempt": attempt, "message": {"id": message, "content": ""}}
    return event("message.created", f"message.created:{message}:{attempt}", message, **more)


def delta(message: str, n: int, text: str) -> Event:
    return event("message.delta", "", message, text, n)


def completed(message: str, attempt: int = 1) -> Event:
    return event("message.completed", f"message.completed:{message}:{attempt}", message)


def run_completed() -> Event:
    return event("run.completed", "run.completed:")


def retried(attempt: int, discarded: tuple[str, ...] = ()) -> Event:
    return event("run.retried", f"run.retried:{attempt}", discarded=list(discarded))


def everything(log: EventLog, thread: str, after: Cursor | None = None) -> list[tuple[int, str]]:
    return [(entry.seq, entry.type) for entry in read_all(log, thread, after).entries]


def read_all(log: EventLog, thread: str, after: Cursor | None = None) -> Chunk:
    chunk = log.read(thread, after, 100_000)
    assert chunk.reset is None
    return chunk


def text_of(log: EventLog, thread: str) -> str:
    deltas = [entry for entry in read_all(log, thread).entries if entry.type == "message.delta"]
    return "".join(orjson.loads(entry.payload)["text"] for entry in deltas)


# ── numbers ──


def test_entries_are_numbered_from_one_without_holes(log: EventLog, thread: str) -> None:
    log.announce(thread, RUN, 0, [event("state.created", "state.created:s"), queued()])
    log.begin(thread, RUN, 1, [started()])
    appended = log.append(thread, RUN, 1, 2, [created("m"), delta("m", 1, "a"), delta("m", 2, "b")])
    assert [seq for seq, _ in everything(log, thread)] == [1, 2, 3, 4, 5, 6]
    assert (appended.epoch, appended.seq) == (log.cursor(thread).epoch, 6)


def test_runs_of_a_thread_share_its_numbers(log: EventLog, thread: str) -> None:
    for run in ("a", "b"):
        log.begin(thread, run, 1, [started()])
    for number in range(2, 12):
        for run in ("a", "b"):
            log.append(thread, run, 1, number, [event("run.step", f"run.step:{number}")])
    entries = read_all(log, thread).entries
    assert [entry.seq for entry in entries] == list(range(1, 23))
    assert [entry.run_id for entry in entries[2:]] == ["a", "b"] * 10


def test_writers_at_the_same_time_leave_no_hole(log: EventLog, thread: str) -> None:
    def write(run: str) -> None:
        log.begin(thread, run, 1, [started()])
        for number in range(2, 52):
            log.append(thread, run, 1, number, [event("run.step", f"run.step:{number}")])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, [f"run-{number}" for number in range(8)]))
    assert [seq for seq, _ in everything(log, thread)] == list(range(1, 8 * 51 + 1))


def test_entries_are_read_in_chunks_from_any_cursor(log: EventLog, thread: str) -> None:
    log.begin(
        thread,
        RUN,
        1,
        [event("run.step", f"run.step:{number}") for number in range(1000)],
    )
    epoch = log.cursor(thread).epoch
    for after, count in itertools.product((0, 1, 7, 500, 998, 999, 1000), (1, 3, 100, 2000)):
        chunk = log.read(thread, Cursor(epoch, after), count)
        assert [entry.seq for entry in chunk.entries] == list(range(after + 1, min(1000, after + count) + 1))
        assert chunk.head == 1000


def test_a_chunk_of_large_entries_is_bounded_in_bytes(log: EventLog, thread: str) -> None:
    big = "x" * 400_000
    log.begin(thread, RUN, 1, [created("m"), *(delta("m", n, big) for n in range(1, 21))])
    chunk = log.read(thread, None)
    assert sum(len(entry.payload) for entry in chunk.entries) < 4 << 20
    assert [entry.seq for entry in chunk.entries] == list(range(1, len(chunk.entries) + 1))


# ── resends ──


def test_a_batch_that_is_sent_again_is_written_once(log: EventLog, thread: str) -> None:
    batch = [created("m"), delta("m", 1, "once "), delta("m", 2, "only")]
    log.begin(thread, RUN, 1, [started()])
    first = log.append(thread, RUN, 1, 2, batch)
    assert log.append(thread, RUN, 1, 2, batch) == first
    assert text_of(log, thread) == log.open_messages(thread)[0].text == "once only"


def test_a_batch_that_overlaps_an_earlier_one_adds_only_its_rest(log: EventLog, thread: str) -> None:
    deltas = [delta("m", n, str(n)) for n in range(1, 8)]
    log.begin(thread, RUN, 1, [created("m")])
    log.append(thread, RUN, 1, 2, deltas[:4])
    log.append(thread, RUN, 1, 4, deltas[2:])
    assert text_of(log, thread) == log.open_messages(thread)[0].text == "1234567"


def test_the_start_of_an_attempt_may_be_sent_again(log: EventLog, thread: str) -> None:
    log.begin(thread, RUN, 1, [started(), created("m"), delta("m", 1, "a")])
    log.append(thread, RUN, 1, 4, [delta("m", 2, "b")])
    log.begin(thread, RUN, 1, [started(), created("m"), delta("m", 1, "a")])
    log.append(thread, RUN, 1, 5, [delta("m", 3, "c")])
    assert text_of(log, thread) == log.open_messages(thread)[0].text == "abc"


def test_an_event_with_a_key_is_refused_the_second_time(log: EventLog, thread: str) -> None:
    log.announce(thread, RUN, 0, [queued()])
    log.announce(thread, RUN, 0, [queued()])
    log.begin(thread, RUN, 1, [queued(), started()])  # its numbers count, though it is there already
    log.append(thread, RUN, 1, 3, [event("run.step", "run.step:1:1")])
    assert [type for _, type in everything(log, thread)] == [
        "run.queued",
        "run.started",
        "run.step",
    ]


def test_a_run_is_announced_at_its_start_only_if_the_log_does_not_have_it(
    log: EventLog, thread: str, link: Link
) -> None:
    asked: list[str] = []

    def announcement() -> list[Event]:
        asked.append("")
        return [event("state.created", "state.created:s"), queued()]

    log.announce(thread, RUN, 0, announcement())
    asked.clear()
    log.begin(thread, RUN, 1, [started()], announcement)
    log.append(thread, RUN, 1, 2, [created("m")])
    assert not asked

    link.client.flushdb()
    for _ in range(2):  # the second time as after a lost answer
        log.begin(thread, RUN, 2, [started(2)], announcement)
    log.append(thread, RUN, 2, 2, [created("m", 2)])
    assert asked == [""]
    assert [type for _, type in everything(log, thread)] == [
        "state.created",
        "run.queued",
        "run.started",
        "message.created",
    ]
    with pytest.raises(StaleAttempt):
        log.begin(thread, RUN, 1, [started()], announcement)


def test_a_start_that_announces_its_run_still_fences(log: EventLog, thread: str) -> None:
    log.begin(thread, RUN, 1, [started(), created("old")])  # it was never announced
    log.begin(thread, RUN, 2, [started(2)], lambda: [queued()])
    with pytest.raises(StaleAttempt):
        log.append(thread, RUN, 1, 3, [delta("old", 1, "a")])
    assert log.open_messages(thread) == []
    log.append(thread, RUN, 2, 2, [created("new", 2)])


def test_events_of_no_run_are_appended_each_time(log: EventLog, thread: str) -> None:
    for _ in range(2):
        log.announce(thread, None, 0, [event("thread.updated")])
    assert [type for _, type in everything(log, thread)] == ["thread.updated"] * 2


def test_random_resends_of_random_batches_write_every_delta_once(log: EventLog, thread: str) -> None:
    chance = random.Random(7)
    deltas = [delta("m", n, f"{n},") for n in range(1, 301)]
    log.begin(thread, RUN, 1, [created("m")])
    sent = 0
    while sent < len(deltas):
        start = chance.randint(max(0, sent - 10), sent)
        end = min(len(deltas), chance.randint(start, start + 20))
        if end > start:
            log.append(thread, RUN, 1, start + 2, deltas[start:end])
            sent = max(sent, end)
    assert (
        text_of(log, thread) == log.open_messages(thread)[0].text == "".join(delta.text for delta in deltas)
    )


# ── fences ──


def test_a_stale_attempt_writes_nothing_between_the_entries_of_a_later_one(
    log: EventLog, thread: str
) -> None:
    log.begin(thread, RUN, 1, [started(1), created("old"), delta("old", 1, "old")])
    log.begin(thread, RUN, 2, [started(2), created("new", 2)])
    for n in range(1, 6):
        with pytest.raises(StaleAttempt):
            log.append(thread, RUN, 1, 3 + n, [delta("old", 1 + n, "zombie")])
        log.append(thread, RUN, 2, 2 + n, [delta("new", n, str(n))])
    with pytest.raises(StaleAttempt):
        log.begin(thread, RUN, 1, [started(1)])
    with pytest.raises(StaleAttempt):
        log.reopen(thread, RUN, 1, 9, [])
    with pytest.raises(StaleAttempt):
        log.announce(thread, RUN, 1, [run_completed()])
    assert text_of(log, thread) == "old12345"
    assert [(message.message_id, message.text) for message in log.open_messages(thread)] == [("new", "12345")]


def test_an_announcement_of_a_later_attempt_fences_the_earlier_one(log: EventLog, thread: str) -> None:
    log.begin(thread, RUN, 1, [started(), created("m"), delta("m", 1, "a")])
    log.announce(thread, RUN, 2, [retried(2)])
    assert log.open_messages(thread) == []
    with pytest.raises(StaleAttempt):
        log.append(thread, RUN, 1, 4, [delta("m", 2, "b")])
    log.begin(thread, RUN, 2, [started(2)])
    assert [type for _, type in everything(log, thread)][-2:] == [
        "run.retried",
        "run.started",
    ]


def test_run_retried_lists_the_messages_of_the_lost_attempt_and_no_others(log: EventLog, thread: str) -> None:
    log.begin(thread, RUN, 1, [started(), created("asked"), completed("asked")])
    log.append(thread, RUN, 1, 4, [event("run.waiting", "run.waiting:1")])
    log.begin(
        thread,
        RUN,
        2,
        [started(2), created("done", 2), completed("done", 2), created("open", 2)],
    )
    log.announce(thread, RUN, 3, [retried(3, ("from-the-database", "open"))])
    payload = read_all(log, thread).entries[-1].payload
    assert orjson.loads(payload)["discarded"] == ["from-the-database", "open", "done"]


def test_a_late_run_retried_does_not_discard_messages_of_the_next_attempt(log: EventLog, thread: str) -> None:
    log.begin(thread, RUN, 1, [started(), created("old")])
    log.begin(thread, RUN, 2, [started(2), created("new", 2)])
    log.announce(thread, RUN, 2, [retried(2)])
    assert orjson.loads(read_all(log, thread).entries[-1].payload)["discarded"] == ["old"]
    assert [message.message_id for message in log.open_messages(thread)] == ["new"]


def test_nothing_is_written_after_the_end_of_a_run(log: EventLog, thread: str) -> None:
    log.begin(
        thread,
        RUN,
        1,
        [started(), created("m"), delta("m", 1, "a"), completed("m"), run_completed()],
    )
    log.append(thread, RUN, 1, 5, [run_completed()])  # a resend
    with pytest.raises(StaleAttempt):
        log.append(thread, RUN, 1, 6, [event("run.step", "run.step:1:9")])
    log.announce(
        thread,
        RUN,
        1,
        [completed("m"), run_completed(), event("run.step", "run.step:1:10")],
    )
    with pytest.raises(StaleAttempt):
        log.reopen(thread, RUN, 1, 9, [])
    assert everything(log, thread)[-1] == (5, "run.completed")
    assert len(everything(log, thread)) == 5


def test_an_append_after_unknown_entries_answers_lost(log: EventLog, thread: str) -> None:
    with pytest.raises(LogLost):
        log.append(thread, RUN, 1, 1, [started()])
    log.begin(thread, RUN, 1, [started()])
    with pytest.raises(LogLost):
        log.append(thread, RUN, 1, 3, [created("m")])
    with pytest.raises(LogLost):
        log.append(thread, RUN, 2, 2, [created("m")])
    assert len(everything(log, thread)) == 1


def test_a_refused_batch_leaves_nothing_behind(log: EventLog, thread: str) -> None:
    log.begin(thread, RUN, 1, [created("m")])
    with pytest.raises(LogLost):
        log.append(thread, RUN, 1, 2, [delta("m", 1, "a"), delta("m", 3, "gap")])
    assert log.open_messages(thread)[0].text == ""
    assert len(everything(log, thread)) == 1


# ── open text ──


@pytest.mark.parametrize("cut", range(len(AWKWARD) + 1))
def test_text_is_complete_however_its_batches_are_cut(log: EventLog, thread: str, cut: int) -> None:
    deltas = [delta("m", n, text) for n, text in enumerate(AWKWARD, 1)]
    log.begin(thread, RUN, 1, [created("m")])
    log.append(thread, RUN, 1, 2, deltas[:cut])
    log.append(thread, RUN, 1, 2 + cut, deltas[cut:])
    assert text_of(log, thread) == log.open_messages(thread)[0].text == "".join(AWKWARD)


@pytest.mark.parametrize("position", range(len(AWKWARD) + 1))
def test_open_text_and_later_deltas_are_the_complete_text_at_every_position(
    log: EventLog, thread: str, position: int
) -> None:
    """What a client does after a reset: cursor first, then the open text, then deltas above its n."""
    deltas = [delta("m", n, text) for n, text in enumerate(AWKWARD, 1)]
    log.begin(thread, RUN, 1, [created("m")])
    log.append(thread, RUN, 1, 2, deltas[:position])
    cursor = log.cursor(thread)
    between = deltas[position : position + 2]
    log.append(thread, RUN, 1, 2 + position, between)
    [open_now] = log.open_messages(thread)
    log.append(thread, RUN, 1, 2 + position + len(between), deltas[position + 2 :])
    text, n = open_now.text, open_now.n
    for entry in read_all(log, thread, cursor).entries:
        data = orjson.loads(entry.payload)
        if data["n"] == n + 1:
            text, n = text + data["text"], n + 1
    assert text == "".join(AWKWARD)


def test_a_message_of_a_megabyte_is_complete(log: EventLog, thread: str) -> None:
    text = "\U0001f600é\n" * 150_000
    log.begin(thread, RUN, 1, [created("m")])
    log.append(thread, RUN, 1, 2, [delta("m", 1, text)])
    assert text_of(log, thread) == log.open_messages(thread)[0].text == text


def test_an_open_message_is_known_until_it_is_complete(log: EventLog, thread: str, link: Link) -> None:
    log.begin(
        thread,
        RUN,
        1,
        [created("a"), created("b"), delta("b", 1, "B"), delta("a", 1, "A")],
    )
    found = {message.message_id: message for message in log.open_messages(thread)}
    assert found["a"] == OpenMessage("a", RUN, 1, {"id": "a", "content": ""}, "A", 1)
    log.append(thread, RUN, 1, 5, [delta("a", 2, "!"), completed("a")])
    assert [message.message_id for message in log.open_messages(thread)] == ["b"]
    log.append(thread, RUN, 1, 7, [run_completed()])
    assert log.open_messages(thread) == []
    assert [key for key in link.client.scan_iter() if b"partial" in key] == []


def test_the_end_of_one_run_leaves_the_open_messages_of_another(log: EventLog, thread: str) -> None:
    for run in ("a", "b"):
        log.begin(thread, run, 1, [replace(created(run), payload=created(run).payload)])
        log.append(thread, run, 1, 2, [delta(run, 1, run)])
    log.append(thread, "a", 1, 3, [run_completed()])
    assert [message.message_id for message in log.open_messages(thread)] == ["b"]


# ── epochs ──


def test_a_cursor_of_another_epoch_or_beyond_the_end_is_reset(log: EventLog, thread: str) -> None:
    log.begin(thread, RUN, 1, [started()])
    here = log.cursor(thread)
    assert log.read(thread, Cursor("other", 1)).reset == "epoch"
    assert log.read(thread, Cursor(here.epoch, 2)).reset == "gap"
    assert log.read(thread, here) == Chunk(here.epoch, 1, [])
    assert log.read(new_id(), here).reset == "epoch"


def test_a_trimmed_log_resets_cursors_before_its_oldest_entry(
    link: Link, settings: Settings, thread: str
) -> None:
    log = EventLog(link, replace(settings.log, entries=100))
    log.begin(
        thread,
        RUN,
        1,
        [event("run.step", f"run.step:{number}") for number in range(1000)],
    )
    oldest = log.oldest(thread)
    assert oldest.seq > 700
    assert log.read(thread, Cursor(oldest.epoch, oldest.seq - 1)).reset == "trimmed"
    assert [seq for seq, _ in everything(log, thread)] == list(range(oldest.seq + 1, 1001))
    link.client.delete(f"branchline:{{{thread}}}:log")
    assert log.read(thread, oldest).reset == "trimmed"
    assert log.read(thread, log.cursor(thread)).reset is None


def test_a_log_continues_after_a_flush_and_a_reopening(log: EventLog, thread: str, link: Link) -> None:
    log.begin(
        thread,
        RUN,
        1,
        [started(), created("m"), delta("m", 1, "Hello"), delta("m", 2, ", ")],
    )
    before = log.cursor(thread)
    link.client.flushall()
    assert log.read(thread, before).reset == "epoch"
    rest = [delta("m", 3, "world"), completed("m")]
    with pytest.raises(LogLost):
        log.append(thread, RUN, 1, 5, rest)
    log.reopen(thread, RUN, 1, 4, [OpenMessage("m", RUN, 1, {"id": "m"}, "Hello, ", 2)])
    assert everything(log, thread) == []
    after = log.cursor(thread)
    assert after.epoch != before.epoch
    assert [(message.text, message.n) for message in log.open_messages(thread)] == [("Hello, ", 2)]
    log.append(thread, RUN, 1, 5, rest)
    assert [type for _, type in everything(log, thread, after)] == [
        "message.delta",
        "message.completed",
    ]


def test_run_retried_after_a_flush_lists_the_reopened_messages(
    log: EventLog, thread: str, link: Link
) -> None:
    log.begin(thread, RUN, 1, [started()])
    link.client.flushall()
    log.reopen(thread, RUN, 1, 7, [OpenMessage("open", RUN, 1, {}, "text", 1)], ["complete"])
    log.announce(thread, RUN, 2, [retried(2)])
    assert orjson.loads(read_all(log, thread).entries[-1].payload)["discarded"] == [
        "complete",
        "open",
    ]


def test_reopening_resets_readers_that_may_have_missed_entries(log: EventLog, thread: str) -> None:
    log.begin(thread, RUN, 1, [started(), created("m")])
    here = log.cursor(thread)
    log.reopen(thread, RUN, 1, 5, [OpenMessage("m", RUN, 1, {}, "abc", 3)])
    assert log.read(thread, here).reset == "epoch"


def test_a_restarted_redis_that_kept_its_data_begins_a_new_epoch(
    own_redis: RedisServer, settings: Settings, thread: str
) -> None:
    link = Link(own_redis.url, settings.redis)
    log = EventLog(link, settings.log)
    log.begin(thread, RUN, 1, [started(), created("m"), delta("m", 1, "kept")])
    before = log.cursor(thread)
    link.client.save()
    log.append(thread, RUN, 1, 4, [delta("m", 2, " lost")])
    own_redis.restart()

    assert log.read(thread, before).reset == "epoch"
    with pytest.raises(LogLost):  # though the numbers would fit: a fence may have been lost as well
        log.append(thread, RUN, 1, 4, [delta("m", 2, " lost")])
    log.reopen(thread, RUN, 1, 4, [OpenMessage("m", RUN, 1, {"id": "m"}, "kept lost", 2)])
    now = log.cursor(thread)
    assert (now.epoch != before.epoch, now.seq) == (True, before.seq)
    log.append(thread, RUN, 1, 5, [delta("m", 3, "!")])
    assert everything(log, thread, now) == [(before.seq + 1, "message.delta")]
    assert log.open_messages(thread)[0].text == "kept lost!"
    link.close()


def test_a_redis_that_is_away_raises_one_clear_error_until_it_is_back(
    own_redis: RedisServer, settings: Settings, thread: str
) -> None:
    link = Link(own_redis.url, settings.redis)
    log = EventLog(link, settings.log)
    log.begin(thread, RUN, 1, [started()])
    own_redis.kill()
    with pytest.raises(StreamUnavailable):
        log.begin(thread, RUN, 1, [started()])
    own_redis.start()
    assert log.begin(thread, RUN, 1, [started()]).seq == 1
    link.close()


def test_a_connection_that_broke_while_idle_is_not_noticed(log: EventLog, thread: str, link: Link) -> None:
    log.begin(thread, RUN, 1, [started()])
    link.client.client_kill_filter(_type="normal", skipme=True)
    log.append(thread, RUN, 1, 2, [event("run.step", "run.step:1:1")])
    link.client.script_flush()
    log.append(thread, RUN, 1, 3, [event("run.step", "run.step:1:2")])
    assert len(everything(log, thread)) == 3


def test_a_caller_that_finds_no_free_connection_waits_for_one(
    redis_url: str, settings: Settings, thread: str
) -> None:
    link = Link(redis_url, replace(settings.redis, connections=2))
    log = EventLog(link, settings.log)
    with ThreadPoolExecutor(16) as pool:
        cursors = list(pool.map(lambda _: log.cursor(thread), range(200)))
    assert len(set(cursors)) == 1
    assert len([client for client in link.client.client_list() if client["name"] == "branchline"]) <= 2
    link.close()


# ── runs ──


def test_the_span_of_a_run_is_known_while_the_log_has_it(log: EventLog, thread: str, link: Link) -> None:
    assert log.span(thread, RUN) == Span(None, None)
    log.announce(thread, None, 0, [event("thread.updated")])
    log.announce(thread, RUN, 0, [event("state.created", "state.created:s"), queued()])
    log.begin(thread, RUN, 1, [started(), event("run.waiting", "run.waiting:1")])
    log.announce(thread, RUN, 1, [event("run.queued", "run.queued:1")])
    epoch = log.cursor(thread).epoch
    assert log.span(thread, RUN) == Span(Cursor(epoch, 3), None)
    log.begin(thread, RUN, 2, [started(2), run_completed()])
    assert log.span(thread, RUN).completed == Cursor(epoch, 8)
    link.client.xtrim(f"branchline:{{{thread}}}:log", maxlen=5, approximate=False)
    assert log.span(thread, RUN) == Span(None, Cursor(epoch, 8))


def test_every_key_of_a_thread_expires(log: EventLog, thread: str, link: Link) -> None:
    log.begin(thread, RUN, 1, [queued(), created("m"), delta("m", 1, "a")])
    log.append(thread, RUN, 1, 4, [delta("m", 2, "b")])
    names = list(link.client.scan_iter())
    assert len(names) == 5
    assert all(0 < link.client.ttl(name) <= 86_400 for name in names)


def test_changed_names_the_cursors_that_have_something_to_read(log: EventLog, link: Link) -> None:
    threads = [new_id() for _ in range(4)]
    cursors = [(thread, log.cursor(thread)) for thread in threads]
    assert log.changed(cursors) == []
    log.announce(threads[1], None, 0, [event("thread.updated")])
    link.client.delete(f"branchline:{{{threads[3]}}}:head")
    assert log.changed(cursors) == [1, 3]


# ── what goes out with an append ──


def subscribed_to(link: Link, *channels: str) -> redis.client.PubSub:
    listener = link.client.pubsub(ignore_subscribe_messages=False)
    listener.subscribe(*channels)
    for _ in channels:
        assert listener.get_message(timeout=20)["type"] == "subscribe"
    return listener


def test_a_wake_up_carries_small_entries_and_announces_large_ones(
    log: EventLog, thread: str, link: Link
) -> None:
    listener = subscribed_to(link, Keys().wake(thread))
    log.begin(thread, RUN, 1, [started(), created("m")])
    log.append(thread, RUN, 1, 3, [delta("m", 1, "x" * 10_000)])
    small, large = (decode_wakeup(listener.get_message(timeout=20)["data"]) for _ in range(2))
    assert small is not None and large is not None
    assert small.entries == read_all(log, thread).entries[:2]
    assert (small.head, large.head, large.entries) == (2, 3, [])
    assert decode_wakeup(b"") is None
    listener.close()


def test_a_hint_is_published_with_appended_events_and_not_with_refused_ones(
    log: EventLog, thread: str, link: Link
) -> None:
    hint = Hint("workspace", {"type": "run.changed"})
    listener = subscribed_to(link, Keys().workspace("workspace"))
    log.begin(thread, RUN, 2, [started(2)])
    with pytest.raises(StaleAttempt):
        log.announce(thread, RUN, 1, [retried(1)], Hint("workspace", {"type": "refused"}))
    log.append(thread, RUN, 2, 2, [created("m", 2)], hint)
    assert listener.get_message(timeout=20)["data"] == hint.message
    assert listener.get_message(timeout=0) is None
    listener.close()
