"""A run's history from the database has every type of event that its stream has, or says why not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from runtime import events
from runtime.model import Message, MessageType, Role, Run, RunStatus, new_id
from runtime.stream import OpenMessage
from web.streaming.history import NOT_REBUILT, StoredRun, history

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return BEGINNING + timedelta(seconds=seconds)


def run(**more: Any) -> Run:
    ids = {name: new_id() for name in ("id", "thread_id", "workspace_id", "user_id")}
    states = {"input_state_id": new_id(), "output_state_id": new_id(), "parent_run_id": None}
    known = {"worker_id": "echo", "worker_digest": "", "pool": "python", "config": {}, "args": None}
    numbers = {"attempt": 1, "failures": 0, "max_attempts": 3, "timeout_seconds": 60.0, "priority": 0}
    return Run(**{
        **ids, **states, **known, **numbers,
        "status": RunStatus.RUNNING, "created_at": BEGINNING, "started_at": BEGINNING, **more,
    })  # fmt: skip


def message(of: Run, seconds: float, content: str, attempt: int = 1, **more: Any) -> Message:
    place = {"id": new_id(), "state_id": of.output_state_id, "position": int(seconds)}
    return Message(
        **place, role=Role.ASSISTANT, content=content, run_id=of.id, attempt=attempt,
        created_at=after(seconds), **more,
    )  # fmt: skip


def question(of: Run, seconds: float, attempt: int = 1, **data: Any) -> Message:
    data = {"id": "q", "options": [], **data}
    return message(of, seconds, "Sure?", attempt, type=MessageType.CONFIRMATION, data=data)


def step(seconds: float, attempt: int = 1) -> dict[str, Any]:
    return {"attempt": attempt, "number": 1, "description": "thinking", "at": after(seconds)}


def told(stored: StoredRun, *open_now: OpenMessage) -> list[tuple[str, int]]:
    """Type and attempt of each event."""
    found = [(event.type, orjson.loads(event.payload)["attempt"]) for _, event in history(stored, open_now)]
    return [(type.removeprefix("message."), attempt) for type, attempt in found]


def everything() -> StoredRun:
    """A run that has said, called, read and asked, and has ended after the answer."""
    of = run(attempt=3, status=RunStatus.SUCCESS, finished_at=after(9))
    sent = message(of, 4, "And birds?")
    written = [message(of, 1, "Hi"), question(of, 5, answer="yes"), message(of, 8, "Done", 3)]
    written.insert(1, sent)
    child = run(parent_run_id=of.id, call_id="a", created_at=after(3))
    steps = [step(2), step(6, attempt=2), step(7, attempt=3)]
    return StoredRun(of, written, steps, [child], {sent.id})


def test_a_history_has_what_was_told_in_its_order() -> None:
    complete = ["created", "delta", "completed"]
    expected = [
        ("run.queued", 0), ("run.started", 1), *((type, 1) for type in complete),
        ("run.step", 1), ("run.child", 1), ("created", 1), ("completed", 1), ("run.message_delivered", 1),
        *((type, 1) for type in complete), ("run.waiting", 1), ("run.queued", 1),
        ("run.started", 3), ("run.step", 3), *((type, 3) for type in complete), ("run.completed", 3),
    ]  # fmt: skip

    assert told(everything()) == expected


@pytest.mark.parametrize("type", events.TYPES)
def test_each_type_of_event_is_told_again_or_it_is_said_why_not(type: str) -> None:
    is_told = type in {event.type for _, event in history(everything(), ())}

    assert is_told != (type in NOT_REBUILT)


@pytest.mark.parametrize("withdrawn", [False, True])
def test_a_question_that_waits_is_asked_and_one_that_was_withdrawn_was(withdrawn: bool) -> None:
    of = run(status=RunStatus.QUEUED if withdrawn else RunStatus.WAITING)
    asked = question(of, 1, **({"withdrawn": True} if withdrawn else {}))
    if not withdrawn:
        of = run(status=RunStatus.WAITING, confirmation={"id": "q", "message_id": asked.id})

    types = [type for type, _ in told(StoredRun(of, [asked], []))]

    assert types.count("run.waiting") == 1
    assert types.count("run.queued") == 1 + withdrawn


def test_a_run_that_was_cancelled_with_its_question_was_started_once() -> None:
    of = run(status=RunStatus.CANCELLED, attempt=2, confirmation={"id": "q", "message_id": None})

    found = told(StoredRun(of, [question(of, 1)], []))

    assert found[1] == ("run.started", 1)
    assert found[-2:] == [("run.waiting", 1), ("run.completed", 2)]
    assert len(found) == 7


def test_the_text_that_is_being_written_goes_on_where_the_log_does() -> None:
    of = run()
    begun = message(of, 1, "").encode()
    written = OpenMessage(begun["id"], of.id, 1, begun, "Hel", 2)

    found = list(history(StoredRun(of, [], []), [written]))

    assert [event.type for _, event in found][-2:] == ["message.created", "message.delta"]
    assert (found[-1][1].n, found[-1][1].text) == (2, "Hel")
