"""A worker's output becomes messages and events, in order, each character once."""

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


def complete(content: str) -> p.CompleteMessage:
    return p.CompleteMessage(Role.ASSISTANT, MessageType.TEXT, Channel.ANSWER, None, content, {})


@pytest.fixture
def transcript() -> Transcript:
    return Transcript(RUN, 0, LIMITS)


def texts(events: list[Event]) -> list[tuple[str, str]]:
    """Type and text of each event."""
    return [(event.type.removeprefix("message."), event.text) for event in events]


def test_a_message_is_partial_until_it_is_completed(transcript):
    transcript.apply([p.Delta(None, "Hello"), complete("World"), p.Done()])

    batch = transcript.next_batch()
    transcript.mark_committed(batch.to_commit)
    found = [*batch.events, *transcript.next_batch().events]
    payloads = [orjson.loads(event.payload) for event in found]
    statuses = [(data["type"], data["message"]["status"]) for data in payloads if "message" in data]

    assert sorted(statuses) == [
        *[("message.completed", "complete")] * 2,
        *[("message.created", "partial")] * 2,
    ]


def test_the_first_delta_opens_a_message(transcript):
    transcript.apply([p.Delta(None, "Hel")])

    assert texts(transcript.next_batch().events) == [("created", ""), ("delta", "Hel")]


def test_pending_deltas_are_joined_and_numbered_from_one(transcript):
    transcript.apply([p.Delta(None, "a"), p.Delta(None, "b")])
    transcript.apply([p.Delta(None, "c")])
    first = transcript.next_batch().events
    transcript.apply([p.Delta(None, "d")])
    second = transcript.next_batch().events

    assert texts(first) == [("created", ""), ("delta", "abc")]
    assert texts(second) == [("delta", "d")]
    assert [event.n for event in (*first, *second)] == [0, 1, 2]


def test_text_keeps_its_order_among_other_events(transcript):
    transcript.apply([p.Delta(None, "a"), p.Step("look"), p.Delta(None, "b")])

    order = [("created", ""), ("delta", "a"), ("run.step", ""), ("delta", "b")]
    assert texts(transcript.next_batch().events) == order


def test_a_message_is_completed_in_the_log_only_after_its_commit(transcript):
    transcript.apply([p.Start("x"), p.Delta("x", "code"), p.End("x"), p.Delta(None, "more")])

    batch = transcript.next_batch()
    assert texts(batch.events) == [("created", ""), ("delta", "code")]
    assert [message.content for message in batch.to_commit] == ["code"]
    assert transcript.next_batch().events == [], "nothing overtakes the commit"
    transcript.mark_committed(batch.to_commit)
    assert texts(transcript.next_batch().events) == [("completed", ""), ("created", ""), ("delta", "more")]


def test_a_message_that_ends_while_another_is_committed_has_its_own_commit(transcript):
    transcript.apply([p.Start("x"), p.End("x")])
    first = transcript.next_batch()
    transcript.apply([p.Start("y"), p.Delta("y", "late"), p.End("y")])
    transcript.mark_committed(first.to_commit)

    second = transcript.next_batch()

    assert texts(second.events) == [("completed", ""), ("created", ""), ("delta", "late")]
    assert [message.content for message in second.to_commit] == ["late"]


def test_output_after_the_close_is_neither_committed_nor_emitted(transcript):
    transcript.apply([p.Delta(None, "kept")])
    kept = transcript.close(MessageStatus.PARTIAL)
    transcript.apply([p.Delta(None, "late"), p.Step("late"), p.Start("x"), p.End("x")])
    transcript.mark_committed(kept)

    assert [message.content for message in kept] == ["kept"]
    assert texts(transcript.next_batch().events) == [("created", ""), ("delta", "kept"), ("completed", "")]


def test_usage_beyond_its_bound_is_ignored_and_logged(transcript):
    transcript.apply([p.Usage({"tokens": 1}), p.Usage({"more": "x" * 65536})])

    assert transcript.usage == {"tokens": 1}
    assert "usage is larger" in transcript.log.text()


def test_usage_of_a_step_beyond_the_bound_is_ignored_and_logged(transcript):
    transcript.apply([p.Usage({"said": "x" * 40_000})])

    assert transcript.usage_with({"saved": "x" * 40_000}) is None
    assert "usage is larger" in transcript.log.text()
    assert transcript.usage_with({"saved": 1}) == {"saved": 1}


def test_data_that_does_not_fit_a_message_is_left_out_at_its_end_and_logged(transcript):
    transcript.apply([p.Start("x", type=MessageType.CODE), p.End("x", {"language": 3, "mine": 4})])
    [message] = transcript.close(MessageStatus.COMPLETE)
    assert message.data == {"mine": 4}
    assert "of a message of type code: language" in transcript.log.text()


def test_messages_are_written_at_the_same_time(transcript):
    transcript.apply(
        [
            p.Start("a", channel=Channel.REASONING),
            p.Start("b", type=MessageType.CODE),
            p.Delta("a", "1"),
            p.Delta("b", "2"),
            p.Delta("a", "3"),
        ]
    )
    transcript.next_batch()

    assert [partial.text() for partial in transcript.emitted_messages()] == ["13", "2"]
    assert [partial.message.position for partial in transcript.emitted_messages()] == [0, 1]


def test_a_message_counts_as_emitted_from_its_creation_until_its_completion(transcript):
    transcript.apply([p.Delta(None, "a")])
    assert transcript.emitted_messages() == []
    transcript.next_batch()
    transcript.apply([p.Delta(None, "b"), p.Done()])
    [partial] = transcript.emitted_messages()
    assert (partial.emitted, partial.text()) == (1, "ab")

    batch = transcript.next_batch()
    assert [partial.emitted for partial in transcript.emitted_messages()] == [2]
    transcript.mark_committed(batch.to_commit)
    transcript.next_batch()
    assert transcript.emitted_messages() == []


def test_a_message_behind_an_uncommitted_one_is_not_emitted(transcript):
    transcript.apply([p.Start("a"), p.Delta("a", "1"), p.End("a", {}), p.Delta(None, "2"), p.Step("on")])
    transcript.next_batch()

    [partial] = transcript.emitted_messages()
    assert (partial.text(), partial.emitted) == ("1", 1)


def test_a_complete_message_ends_the_open_one_before_it(transcript):
    transcript.apply([p.Delta(None, "I look it up.")])
    transcript.apply(
        [p.CompleteMessage(Role.TOOL, MessageType.FUNCTION, Channel.ANSWER, None, "42", {"name": "f"})]
    )
    transcript.apply([p.Delta(None, "It is 42.")])

    batch = transcript.next_batch()
    assert [(m.position, m.content) for m in batch.to_commit] == [(0, "I look it up."), (1, "42")]


def test_done_completes_the_open_messages(transcript):
    transcript.apply([p.Delta(None, "all"), p.Done()])

    assert transcript.result is not None
    assert transcript.result.error is None
    [message] = transcript.close(MessageStatus.PARTIAL)
    assert (message.content, message.status) == ("all", MessageStatus.COMPLETE)


def test_a_message_that_was_cut_off_is_partial(transcript):
    transcript.apply([p.Delta(None, "hal")])
    transcript.next_batch()

    [message] = transcript.close(MessageStatus.PARTIAL)
    transcript.mark_committed([message])
    assert (message.content, message.status) == ("hal", MessageStatus.PARTIAL)
    [event] = transcript.next_batch().events
    assert orjson.loads(event.payload)["message"]["content"] == "hal"


def test_output_after_done_is_ignored_and_logged(transcript):
    transcript.apply([p.Done(), p.Delta(None, "late"), p.Step("late")])

    assert transcript.next_batch().events == []
    assert "after its end" in transcript.log.text()


def test_a_question_ends_the_open_messages_and_becomes_one(transcript):
    transcript.apply([p.Delta(None, "Shall I?"), p.Confirm("q", "Delete it?", ["yes", "no"])])

    batch = transcript.next_batch()
    assert [m.type for m in batch.to_commit] == [MessageType.TEXT, MessageType.CONFIRMATION]
    confirmation = transcript.result.confirmation
    assert confirmation == {
        "id": "q",
        "prompt": "Delete it?",
        "options": ["yes", "no"],
        "message_id": batch.to_commit[1].id,
        "digest": confirmation["digest"],
    }


def test_an_answered_question_that_comes_back_as_another_one_is_a_failure(transcript):
    transcript.apply([p.Confirm("q", "Delete A?", ["yes", "no"])])
    asked = transcript.result.confirmation
    answered = replace(RUN, answers=({"confirmation_id": "q", "answer": "yes", "digest": asked["digest"]},))
    for prompt, failed in (("Delete A?", False), ("Delete B?", True)):
        again = Transcript(answered, 0, LIMITS)
        again.apply([p.Confirm("q", prompt, ["yes", "no"])])
        assert (again.result.error is not None) == failed


def test_usage_adds_up_over_attempts_and_steps(transcript):
    later = Transcript(replace(RUN, usage={"tokens": 5, "by": {"a": 1}, "model": "x"}), 0, LIMITS)
    later.apply([p.Usage({"tokens": 1}), p.Usage({"tokens": 2, "by": {"a": 2, "b": 3}, "model": "y"})])
    assert later.usage == {"tokens": 7, "by": {"a": 3, "b": 3}, "model": "y"}
    assert later.unsaved_usage() == later.usage
    later.mark_used(later.usage_with({"tokens": 10}))
    assert later.usage["tokens"] == 17
    assert later.unsaved_usage() is None


def test_a_message_is_saved_again_only_when_it_has_grown(transcript):
    transcript.apply([p.Delta(None, "a")])
    transcript.next_batch()
    assert [m.content for m in transcript.unsaved_messages()] == ["a"]
    assert transcript.unsaved_messages() == []
    transcript.apply([p.Delta(None, "b")])
    transcript.next_batch()
    assert [m.content for m in transcript.unsaved_messages()] == ["ab"]


def test_a_message_is_saved_again_when_saving_failed(transcript):
    transcript.apply([p.Delta(None, "a")])
    transcript.next_batch()
    transcript.unsaved_messages()
    transcript.forget_saved()
    assert [m.content for m in transcript.unsaved_messages()] == ["a"]


def test_a_message_that_grows_too_large_is_refused(transcript):
    transcript.apply([p.Delta(None, "ä" * 50)])

    with pytest.raises(OutputTooLarge):
        transcript.apply([p.Delta(None, "x")])


@pytest.mark.parametrize(
    "output",
    [
        complete("x" * 100),
        complete(""),
        p.Start("ref", data={"a": "x" * 200}),
        p.Step("x"),
    ],
    ids=["text", "many messages", "data", "steps"],
)
def test_output_that_grows_too_large_is_refused(transcript, output):
    with pytest.raises(OutputTooLarge):
        transcript.apply([output] * 12)


def test_output_before_the_limit_is_kept(transcript):
    transcript.apply([p.Start("code"), p.Delta("code", "x = 1")])
    with pytest.raises(OutputTooLarge):
        transcript.apply([p.End("code", {"result": "x" * 3000})])

    assert [message.content for message in transcript.close(MessageStatus.PARTIAL)] == ["x = 1"]


def test_an_empty_delta_opens_no_message(transcript):
    transcript.apply([p.Delta(None, "")])

    assert transcript.next_batch().events == []


@pytest.mark.parametrize("first", [p.Delta(None, "x"), complete("whole")])
def test_the_first_delta_is_noted_once(transcript, first):
    transcript.apply([p.Step("thinks"), p.Delta(None, "")])
    assert transcript.since_first_delta() is None

    transcript.apply([first])
    before = transcript.since_first_delta()
    transcript.apply([p.Delta(None, "more"), p.Done()])

    assert before is not None
    assert transcript.since_first_delta() > before


def test_a_log_tail_keeps_the_end():
    log = LogTail(10)
    for number in range(20):
        log.write(b"line %d\n" % number)

    assert log.text() == "8\nline 19\n"[-10:]
    assert log.truncated


def test_a_log_tail_replaces_bytes_that_are_no_text():
    log = LogTail(100)
    log.write(b"\xff\x00ok")

    assert log.text() == "\ufffd\ufffdok"
