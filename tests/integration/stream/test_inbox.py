"""Inboxes against a real Redis."""

from __future__ import annotations

import pytest

from runtime.errors import LinesMissing, OutputLost, StaleAttempt
from runtime.settings import Settings
from runtime.stream import EventLog, Inbox, Line, Link
from runtime.stream.inbox import INBOX_BYTES, INBOX_LINES, POP
from runtime.stream.keys import Keys

RUN = "run-1"


@pytest.fixture
def inbox(link: Link) -> Inbox:
    return Inbox(link)


def test_an_inbox_gives_lines_in_order_and_each_once(inbox: Inbox, thread: str) -> None:
    assert inbox.pop(thread, RUN, 1, 10) == []
    assert inbox.push(thread, RUN, 1, [b"a", b"b", b"c"])
    assert inbox.push(thread, RUN, 1, [b"d"])
    assert inbox.pop(thread, RUN, 1, 2) == [b"a", b"b"]
    assert inbox.push(thread, RUN, 1, [b"e"])
    assert inbox.pop(thread, RUN, 1, 10) == [b"c", b"d", b"e"]
    assert inbox.pop(thread, RUN, 1, 10) == []


def test_lines_whose_reply_was_lost_are_returned_again(inbox: Inbox, thread: str, link: Link) -> None:
    inbox.push(thread, RUN, 1, [b"a", b"b"])
    call = link.call

    def lose_the_answer(*args: object, **more: object) -> object:
        call(*args, **more)  # type: ignore[arg-type]
        raise ConnectionError

    link.call = lose_the_answer  # type: ignore[method-assign]
    with pytest.raises(ConnectionError):
        inbox.pop(thread, RUN, 1, 1)
    link.call = call  # type: ignore[method-assign]
    assert inbox.pop(thread, RUN, 1, 1) == [b"a"]
    assert inbox.pop(thread, RUN, 1, 1) == [b"b"]


def test_numbered_lines_count_once_however_often_they_are_sent(inbox: Inbox, thread: str) -> None:
    assert inbox.push(thread, RUN, 1, [b"a", b"b"], first=1)
    assert inbox.push(thread, RUN, 1, [b"a", b"b"], first=1)
    assert inbox.push(thread, RUN, 1, [b"b", b"c"], first=2)
    with pytest.raises(LinesMissing) as missing:
        inbox.push(thread, RUN, 1, [b"e"], first=5)

    assert missing.value.expected == 4
    assert inbox.push(thread, RUN, 1, [b"d", b"e"], first=4)
    assert inbox.pop(thread, RUN, 1, 10) == [b"a", b"b", b"c", b"d", b"e"]
    assert inbox.push(thread, RUN, 2, [b"of the next attempt"], first=1)


def test_numbered_lines_that_found_the_inbox_full_are_taken_when_they_come_again(
    inbox: Inbox, thread: str
) -> None:
    inbox.push(thread, RUN, 1, [b"x"] * INBOX_LINES)
    assert not inbox.push(thread, RUN, 1, [b"a"], first=1)
    inbox.pop(thread, RUN, 1, INBOX_LINES)
    inbox.pop(thread, RUN, 1, 1)

    assert inbox.push(thread, RUN, 1, [b"a"], first=1)
    assert inbox.pop(thread, RUN, 1, 10) == [b"a"]


def test_a_line_that_asks_is_read_in_its_turn_and_answered(inbox: Inbox, thread: str) -> None:
    inbox.push(thread, RUN, 1, [b"before"])
    token = inbox.ask(thread, RUN, 1, b'{"type":"save"}')
    assert token is not None
    inbox.push(thread, RUN, 1, [b"after"])

    lines = [Line.decode(kept) for kept in inbox.pop(thread, RUN, 1, 10)]

    assert lines == [Line(b"before"), Line(b'{"type":"save"}', token), Line(b"after")]
    assert inbox.answered(thread, RUN, 1, token) is None
    inbox.answer(thread, RUN, 1, token, b"saved")
    assert inbox.answered(thread, RUN, 1, token) == b"saved"
    assert inbox.answered(thread, RUN, 2, token) is None


def test_an_inbox_is_bounded_in_lines_and_in_bytes(inbox: Inbox, thread: str) -> None:
    assert inbox.push(thread, RUN, 1, [b"x"] * INBOX_LINES)
    assert not inbox.push(thread, RUN, 1, [b"y"])
    assert len(inbox.pop(thread, RUN, 1, INBOX_LINES)) == INBOX_LINES
    assert inbox.pop(thread, RUN, 1, 1) == []

    half = b"x" * (INBOX_BYTES // 2 + 1)
    assert inbox.push(thread, RUN, 1, [half])
    assert not inbox.push(thread, RUN, 1, [half])
    assert inbox.pop(thread, RUN, 1, 1) == [half]
    assert inbox.pop(thread, RUN, 1, 1) == []
    assert inbox.push(thread, RUN, 1, [half, half])  # an empty one takes anything


def test_an_attempt_that_is_over_can_push_nothing(
    inbox: Inbox, thread: str, link: Link, settings: Settings
) -> None:
    log = EventLog(link, settings.log)
    log.begin(thread, RUN, 1, [])
    assert inbox.push(thread, RUN, 1, [b"old"])
    log.begin(thread, RUN, 2, [])
    with pytest.raises(StaleAttempt):
        inbox.push(thread, RUN, 1, [b"zombie"])
    assert inbox.pop(thread, RUN, 2, 10) == []


@pytest.mark.parametrize("evicted", [Keys().inbox, Keys().inbox_state])
def test_lines_that_were_evicted_are_noticed(inbox: Inbox, thread: str, link: Link, evicted) -> None:
    inbox.push(thread, RUN, 1, [b"a", b"b"])
    assert inbox.pop(thread, RUN, 1, 1) == [b"a"]
    link.client.delete(evicted(thread, RUN, 1))
    inbox.push(thread, RUN, 1, [b"c"])

    with pytest.raises(OutputLost):
        inbox.pop(thread, RUN, 1, 10)


def test_nothing_is_lost_where_all_lines_had_been_read(inbox: Inbox, thread: str, link: Link) -> None:
    inbox.push(thread, RUN, 1, [b"a", b"b"])
    assert inbox.pop(thread, RUN, 1, 10) == [b"a", b"b"]
    link.client.delete(Keys().inbox(thread, RUN, 1))
    inbox.push(thread, RUN, 1, [b"c"])

    assert inbox.pop(thread, RUN, 1, 10) == [b"c"]
    assert inbox.pop(thread, RUN, 1, 10) == []


def test_lines_that_are_evicted_before_a_lost_reply_is_asked_for_again_are_noticed(
    inbox: Inbox, thread: str, link: Link
) -> None:
    inbox.push(thread, RUN, 1, [b"a"])
    link.call(POP, [Keys().inbox(thread, RUN, 1), Keys().inbox_state(thread, RUN, 1)], ["token", 1])
    inbox._tokens[RUN] = "token"
    link.client.delete(Keys().inbox(thread, RUN, 1))

    with pytest.raises(OutputLost):
        inbox.pop(thread, RUN, 1, 1)


def test_an_inbox_that_nobody_used_leaves_no_key(inbox: Inbox, thread: str, link: Link) -> None:
    assert inbox.pop(thread, RUN, 1, 10) == []

    assert link.client.keys(f"*{thread}*") == []
