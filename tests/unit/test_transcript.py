"""What a child says becomes messages and events, in order, each character once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import orjson
import pytest

from runtime.child import protocol as p
from runtime.errors import OutputTooLarge
from runtime.events import Event
from runtime.model import Channel, MessageStatus, MessageType, Role, Run, RunStatus
from runtime.pool.transcript import LogTail, Transcript
from runtime.settings import load

RUN = Run(
    id="r",
    thread_id="t",
    workspace_id="w",
    user_id="u",
    parent_run_id=None,
    input_state_id="i",
    output_state_id="o",
    worker_id="echo",
    worker_digest="",
    pool="python",
    config={},
    args=None,
    status=RunStatus.RUNNING,
    attempt=1,
    failures=0,
    max_attempts=3,
    timeout_seconds=1,
    priority=0,
    created_at=datetime.now(UTC),
)


LIMITS = replace(load({}).run, max_message=100, max_output=3000, max_log=50)


def whole(content: str) -> p.CompleteMessage:
    return p.CompleteMessage(Role.ASSISTANT, MessageType.TEXT, Channel.ANSWER, None, content, {})


@pytest.fixture
def transcript() -> Transcript:
    return Transcript(RUN, 0, LIMITS)


def told(events: list[Event]) -> list[tuple[str, str]]:
    """Type and text of each event."""
    return [(event.type.removeprefix("message."), event.text) for event in events]


def test_the_first_delta_opens_the_answer(transcript):
    transcript.take([p.Delta(None, "Hel")])

    assert told(transcript.due().events) == [("created", ""), ("delta", "Hel")]


def test_deltas_that_wait_are_joined_and_numbered_from_one(transcript):
    transcript.take([p.Delta(None, "a"), p.Delta(None, "b")])
    transcript.take([p.Delta(None, "c")])
    first = transcript.due().events
    transcript.take([p.Delta(None, "d")])
    second = transcript.due().events

    assert told(first) == [("created", ""), ("delta", "abc")]
    assert told(second) == [("delta", "d")]
    assert [event.n for event in (*first, *second)] == [0, 1, 2]


def test_text_stays_before_what_was_said_after_it(transcript):
    transcript.take([p.Delta(None, "a"), p.Step("look"), p.Delta(None, "b")])

    order = [("created", ""), ("delta", "a"), ("run.step", ""), ("delta", "b")]
    assert told(transcript.due().events) == order


def test_a_message_is_announced_complete_only_after_its_commit(transcript):
    transcript.take([p.Start("x"), p.Delta("x", "code"), p.End("x"), p.Delta(None, "more")])

    due = transcript.due()
    assert told(due.events) == [("created", ""), ("delta", "code")]
    assert [message.content for message in due.commit] == ["code"]
    assert transcript.due().events == [], "nothing overtakes the commit"
    transcript.committed(due.commit)
    assert told(transcript.due().events) == [("completed", ""), ("created", ""), ("delta", "more")]


def test_a_message_that_ends_while_another_is_committed_has_its_own_commit(transcript):
    transcript.take([p.Start("x"), p.End("x")])
    first = transcript.due()
    transcript.take([p.Start("y"), p.Delta("y", "late"), p.End("y")])
    transcript.committed(first.commit)

    second = transcript.due()

    assert told(second.events) == [("completed", ""), ("created", ""), ("delta", "late")]
    assert [message.content for message in second.commit] == ["late"]


def test_what_is_said_after_the_close_is_neither_kept_nor_announced(transcript):
    transcript.take([p.Delta(None, "kept")])
    kept = transcript.close(MessageStatus.PARTIAL)
    transcript.take([p.Delta(None, "late"), p.Step("late"), p.Start("x"), p.End("x")])
    transcript.committed(kept)

    assert [message.content for message in kept] == ["kept"]
    assert told(transcript.due().events) == [("created", ""), ("delta", "kept"), ("completed", "")]


def test_usage_beyond_its_bound_is_ignored_and_logged(transcript):
    transcript.take([p.Usage({"tokens": 1}), p.Usage({"more": "x" * 65536})])

    assert transcript.usage == {"tokens": 1}
    assert "usage is larger" in transcript.log.text()


def test_messages_may_be_written_at_the_same_time(transcript):
    transcript.take(
        [
            p.Start("a", channel=Channel.REASONING),
            p.Start("b", type=MessageType.CODE),
            p.Delta("a", "1"),
            p.Delta("b", "2"),
            p.Delta("a", "3"),
        ]
    )
    transcript.due()

    assert [writing.text() for writing in transcript.told()] == ["13", "2"]
    assert [writing.message.position for writing in transcript.told()] == [0, 1]


def test_a_message_counts_as_told_from_its_beginning_until_its_end_was_handed_out(transcript):
    transcript.take([p.Delta(None, "a")])
    assert transcript.told() == []
    transcript.due()
    transcript.take([p.Delta(None, "b"), p.Done()])
    [writing] = transcript.told()
    assert (writing.told, writing.text()) == (1, "ab")

    due = transcript.due()
    assert [writing.told for writing in transcript.told()] == [2]
    transcript.committed(due.commit)
    transcript.due()
    assert transcript.told() == []


def test_what_waits_behind_an_uncommitted_message_was_not_told(transcript):
    transcript.take([p.Start("a"), p.Delta("a", "1"), p.End("a", {}), p.Delta(None, "2"), p.Step("on")])
    transcript.due()

    [writing] = transcript.told()
    assert (writing.text(), writing.told) == ("1", 1)


def test_a_whole_message_ends_the_answer_before_it(transcript):
    transcript.take([p.Delta(None, "I look it up.")])
    transcript.take(
        [p.CompleteMessage(Role.TOOL, MessageType.FUNCTION, Channel.ANSWER, None, "42", {"name": "f"})]
    )
    transcript.take([p.Delta(None, "It is 42.")])

    due = transcript.due()
    assert [(m.position, m.content) for m in due.commit] == [(0, "I look it up."), (1, "42")]


def test_the_end_completes_what_is_open(transcript):
    transcript.take([p.Delta(None, "all"), p.Done()])

    assert transcript.outcome is not None
    assert transcript.outcome.error is None
    [message] = transcript.close(MessageStatus.PARTIAL)
    assert (message.content, message.status) == ("all", MessageStatus.COMPLETE)


def test_what_was_cut_off_is_partial(transcript):
    transcript.take([p.Delta(None, "hal")])
    transcript.due()

    [message] = transcript.close(MessageStatus.PARTIAL)
    transcript.committed([message])
    assert (message.content, message.status) == ("hal", MessageStatus.PARTIAL)
    [event] = transcript.due().events
    assert orjson.loads(event.payload)["message"]["content"] == "hal"


def test_nothing_is_said_after_the_end(transcript):
    transcript.take([p.Done(), p.Delta(None, "late"), p.Step("late")])

    assert transcript.due().events == []
    assert "after its end" in transcript.log.text()


def test_a_question_ends_the_messages_before_it_and_becomes_one(transcript):
    transcript.take([p.Delta(None, "Shall I?"), p.Confirm("q", "Delete it?", ["yes", "no"])])

    due = transcript.due()
    assert [m.type for m in due.commit] == [MessageType.TEXT, MessageType.CONFIRMATION]
    confirmation = transcript.outcome.confirmation
    assert confirmation == {
        "id": "q",
        "prompt": "Delete it?",
        "options": ["yes", "no"],
        "message_id": due.commit[1].id,
    }


def test_only_text_that_has_grown_is_saved_again(transcript):
    transcript.take([p.Delta(None, "a")])
    transcript.due()
    assert [m.content for m in transcript.grown()] == ["a"]
    assert transcript.grown() == []
    transcript.take([p.Delta(None, "b")])
    transcript.due()
    assert [m.content for m in transcript.grown()] == ["ab"]


def test_text_whose_saving_failed_is_handed_out_again(transcript):
    transcript.take([p.Delta(None, "a")])
    transcript.due()
    transcript.grown()
    transcript.forget_saved()
    assert [m.content for m in transcript.grown()] == ["a"]


def test_a_message_has_a_largest_size(transcript):
    transcript.take([p.Delta(None, "ä" * 50)])

    with pytest.raises(OutputTooLarge):
        transcript.take([p.Delta(None, "x")])


@pytest.mark.parametrize(
    "said",
    [
        whole("x" * 100),
        whole(""),
        p.Start("ref", data={"a": "x" * 200}),
        p.Step("x"),
    ],
    ids=["text", "many messages", "data", "steps"],
)
def test_all_that_is_said_has_a_largest_size(transcript, said):
    with pytest.raises(OutputTooLarge):
        transcript.take([said] * 12)


def test_what_was_said_before_it_was_too_much_is_kept(transcript):
    transcript.take([p.Start("code"), p.Delta("code", "x = 1")])
    with pytest.raises(OutputTooLarge):
        transcript.take([p.End("code", {"result": "x" * 3000})])

    assert [message.content for message in transcript.close(MessageStatus.PARTIAL)] == ["x = 1"]


def test_empty_deltas_open_nothing(transcript):
    transcript.take([p.Delta(None, "")])

    assert transcript.due().events == []


def test_the_log_keeps_its_end():
    log = LogTail(10)
    for number in range(20):
        log.write(b"line %d\n" % number)

    assert log.text() == "8\nline 19\n"[-10:]
    assert log.truncated


def test_the_log_survives_bytes_that_are_no_text():
    log = LogTail(100)
    log.write(b"\xff\x00ok")

    assert log.text() == "\ufffd\ufffdok"
