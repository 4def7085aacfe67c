"""A run's history: the events that its stream had, from what the database knows of it.

They are those of a live stream, with one delta per message, but for what is void by now and what
:data:`NOT_REBUILT` names. Steps and sub-runs stand where their times put them between messages;
live they may have come within one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from runtime import events
from runtime.events import Event
from runtime.model import Json, Message, MessageStatus, MessageType, Run, RunStatus
from runtime.queue.announcer import creation_events, question_events
from runtime.store import Connection, calls, messages, queued_messages, runs
from runtime.stream import OpenMessage

Dated = tuple[datetime | None, Event]
"""An event, and when it happened."""
_Timed = tuple[datetime, Event]

NOT_REBUILT: Mapping[str, str] = {
    events.RUN_RETRIED: "What a lost attempt wrote is void, and only what counts is told.",
    events.STATE_CREATED: "It comes before run.queued, with which the stream of a run begins.",
    events.STATE_UPDATED: "It is of a thread, and the stream of a run is without it.",
    events.THREAD_UPDATED: "It is of a thread, and the stream of a run is without it.",
    events.THREAD_DELETED: "It is of a thread, and the stream of a run is without it.",
    events.RESET: "It is in no log.",
}
"""The types of events that are left out, and why."""


@dataclass(frozen=True, slots=True)
class StoredRun:
    """What the database knows of a run."""

    run: Run
    messages: Sequence[Message]
    steps: Sequence[Mapping[str, Json]]
    """Those of an attempt are stored when it ends."""
    children: Sequence[Run] = ()
    """The sub-runs that it has called itself, oldest first."""
    delivered: Collection[str] = ()
    """Ids of the messages that its worker was sent, and has read."""

    @property
    def written(self) -> list[Message]:
        """The messages that are not being written any more."""
        ended = self.run.status.terminal
        return [message for message in self.messages if ended or message.status is MessageStatus.COMPLETE]


def load_run(c: Connection, workspace_id: str, run_id: str) -> StoredRun:
    """Read a run with all that its stream consists of. Raises NotFound."""
    run = runs.get(c, workspace_id, run_id)
    return StoredRun(
        run,
        messages.of_state(c, run.output_state_id),
        runs.steps(c, run_id),
        calls.all_children(c, run_id) if run.calls else (),
        queued_messages.ids_of_read(c, run_id) if run.steered else (),
    )


def history(stored: StoredRun, open_now: Sequence[OpenMessage]) -> Iterator[Dated]:
    """The events of a run so far. ``open_now`` have the text of what is being written."""
    run = stored.run
    yield run.created_at, creation_events(run)[-1]
    if run.started_at is not None:
        yield from _attempts(stored, open_now)
    if run.confirmation is not None:
        yield _asked_at(stored), events.run_waiting(replace(run, attempt=_last_attempt(run)))
    if run.status.terminal:
        yield run.finished_at, events.run_completed(run)


def _attempts(stored: StoredRun, open_now: Sequence[OpenMessage]) -> Iterator[Dated]:
    """What the attempts have told that count: those that led to a settled question, and the last one."""
    run, written = stored.run, deque(stored.written)
    settled = [message for message in written if _is_settled(message)]
    counted = {_last_attempt(run), *(message.attempt for message in written)}
    others = deque(sorted(_others(stored, counted), key=lambda dated: dated[0]))
    begins = run.started_at
    for question in settled:
        yield begins, events.run_started(_running(run, question.attempt))
        while (message := written.popleft()) is not question:
            yield from _in_turn(stored, message, others)
        yield from _in_turn(stored, question, others)
        then = replace(_running(run, question.attempt), status=RunStatus.QUEUED)
        yield from ((question.created_at, event) for event in question_events(then, question))
        begins = question.created_at
    yield begins, events.run_started(_running(run, _last_attempt(run)))
    for message in written:
        yield from _in_turn(stored, message, others)
    for partial in open_now:
        message = _as_message(partial)
        yield from _message_events(run, message, partial.n)
    yield from others


def _in_turn(stored: StoredRun, message: Message, others: deque[_Timed]) -> Iterator[Dated]:
    """A message that is complete, after those ``others`` that have come before it."""
    at = message.created_at
    while others and at is not None and others[0][0] <= at:
        yield others.popleft()
    then = replace(stored.run, attempt=message.attempt)
    delivered = message.id in stored.delivered
    yield from _message_events(then, message, 1 if message.content and not delivered else 0)
    yield at, events.message_completed(then, message)
    if delivered:
        yield at, events.run_message_delivered(then, message.id)


def _others(stored: StoredRun, attempts: Collection[int]) -> Iterator[_Timed]:
    """Steps of these attempts, and sub-runs."""
    run = stored.run
    for step in stored.steps:
        if step["attempt"] in attempts:
            then = replace(run, attempt=step["attempt"])
            yield step["at"], events.run_step(then, step["number"], step["description"])
    for child in stored.children:
        then = replace(run, attempt=_attempt_at(stored, child.created_at))
        yield child.created_at, events.run_child(then, child)


def _is_settled(message: Message) -> bool:
    """Whether it asks something that the run waits for no more."""
    return message.type is MessageType.CONFIRMATION and not {"answer", "withdrawn"}.isdisjoint(message.data)


def _attempt_at(stored: StoredRun, at: datetime) -> int:
    """The attempt of that time that counts."""
    questions = (
        m for m in stored.written if _is_settled(m) and m.created_at is not None and m.created_at >= at
    )
    following = next(questions, None)
    return following.attempt if following else _last_attempt(stored.run)


def _last_attempt(run: Run) -> int:
    """The last attempt that was made. A run that is cancelled while it waits gets one more number."""
    ended_in_question = run.status.terminal and run.confirmation is not None
    return run.attempt - 1 if ended_in_question else run.attempt


def _asked_at(stored: StoredRun) -> datetime | None:
    """When the question came that the run waits with, or has ended with."""
    asked = (stored.run.confirmation or {}).get("message_id")
    times = [message.created_at for message in stored.messages if message.id == asked]
    return times[0] if times else stored.run.started_at


def _running(run: Run, attempt: int) -> Run:
    """The run as it was when an attempt began."""
    began = replace(run, status=RunStatus.RUNNING, attempt=attempt, confirmation=None)
    return replace(began, error=None, usage=None, finished_at=None)


def _message_events(run: Run, message: Message, n: int) -> Iterator[Dated]:
    """A message that begins, and its text as one delta: its ``n``-th, so that the next follows it."""
    yield message.created_at, events.message_created(run, message)
    if n:
        yield message.created_at, events.message_delta(run, message.id, n, message.content)


def _as_message(partial: OpenMessage) -> Message:
    created_at = datetime.fromisoformat(partial.message["created_at"])
    known = {**partial.message, "content": partial.text, "created_at": created_at}
    return Message(**known, attempt=partial.attempt)
