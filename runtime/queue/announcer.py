"""The announcer: appends to the event log what was committed, and sends hints to open lists.

Always after the commit. What cannot be appended because Redis is away is appended
later, by the next attempt or by the reaper. Each of these events has a fixed key, so one
that is appended twice appears once.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from runtime import events
from runtime.errors import StaleAttempt, StreamUnavailable, Unavailable
from runtime.model import Json, Message, MessageType, Run, RunStatus, State, Thread
from runtime.store import Database, recovery
from runtime.stream import EventLog, Hint, Notices

log = logging.getLogger(__name__)


def creation_events(run: Run, *created: State) -> list[events.Event]:
    """The first events of a run, the same whoever appends them; ``created`` are states made for it."""
    queued = replace(run, attempt=0, failures=0, status=RunStatus.QUEUED, started_at=None, answers=())
    return [*(events.state_created(state, queued) for state in created), events.run_queued(queued)]


def history_events(run: Run, state: State, earlier: Sequence[Message]) -> list[events.Event]:
    """All events of a run before its present attempt, for a log that may have lost or missed some.

    ``state`` is its output state; ``earlier`` are the messages that led to its questions.
    """
    history = creation_events(run, state)
    for message in earlier:
        then = replace(run, attempt=message.attempt)
        history += _message_events(then, message)
        if message.type is MessageType.CONFIRMATION:
            history += question_events(then, message)
    return history


def question_events(run: Run, asked: Message) -> list[events.Event]:
    """That a run waited for the answer to a question, and has it."""
    known = {name: asked.data[name] for name in ("id", "options", "schema") if name in asked.data}
    question = {**known, "prompt": asked.content, "message_id": asked.id}
    return [events.run_waiting(replace(run, confirmation=question)), events.run_queued(run)]


def _message_events(run: Run, message: Message) -> list[events.Event]:
    return [events.message_created(run, message), events.message_completed(run, message)]


def reset_if_incomplete(
    log: EventLog, thread_id: str, run_id: str, attempt: int, messages: Sequence[Message]
) -> None:
    """Begin the log anew if it has only a part of the text of one of these complete messages.

    Readers are then reset and load the full text, instead of missing its end.
    """
    if not messages:
        return
    complete = {message.id: len(message.content.encode()) for message in messages}
    appended = log.lengths(thread_id, run_id, list(complete))
    if any(length != complete[message_id] for message_id, length in appended.items()):
        with suppress(StaleAttempt):  # the log knows of the end already, or of a later attempt
            log.reopen(thread_id, run_id, attempt, 0, ())


def run_hint(run: Run) -> Hint:
    """The hint on which the lists and badges of the run's workspace are loaded again."""
    about: dict[str, Json] = {"thread_id": run.thread_id, "run_id": run.id, "status": run.status}
    return Hint(run.workspace_id, {"type": "run.changed", **about})


class Announcer:
    """Appends events that no attempt writes, and the hints for lists with them."""

    def __init__(self, database: Database, log: EventLog, notices: Notices) -> None:
        self._database = database
        self._log = log
        self._notices = notices

    def created(self, run: Run, *states: State, also: Sequence[events.Event] = ()) -> bool:
        """A run was accepted; ``states`` were made for it. True if the log has ``also`` now, too."""
        entries = [*creation_events(run, *states), *also]
        try:
            self._log.announce(run.thread_id, run.id, 0, entries, run_hint(run))
            return True
        except StaleAttempt:
            # A pool was quicker: it has appended the run and its output state, but not a new input state.
            for state in states:
                if state.run_id is None:
                    self.state(state)
        except StreamUnavailable:
            _log_unannounced(run.id, entries)
        return False

    def requeued(self, run: Run) -> None:
        """A waiting run was given its answer, or a lost attempt is to be gone on with: nothing is void."""
        self._append(run.thread_id, run.id, run.attempt, [events.run_queued(run)], run_hint(run))

    def waiting(
        self, run: Run, state: State, earlier: Sequence[Message], messages: Sequence[Message]
    ) -> bool:
        """A run waits for an answer of its user. True if the log has all of it now.

        ``earlier`` are the messages before its earlier questions, ``messages`` those since.
        """
        entries = history_events(run, state, earlier)
        for message in messages:
            entries += _message_events(run, message)
        entries.append(events.run_waiting(run))
        return self._append(run.thread_id, run.id, run.attempt, entries, run_hint(run), [*earlier, *messages])

    def retried(self, run: Run, void: Sequence[str] = ()) -> None:
        """The run is queued for another attempt; what it wrote is void, above all the messages ``void``."""
        retried = [events.run_retried(run, void)]
        self._append(run.thread_id, run.id, run.attempt + 1, retried, run_hint(run))

    def ended(self, run: Run, messages: Sequence[Message] = ()) -> bool:
        """A run has ended. True if the log has it now."""
        announced = self._end(run, messages)
        if announced:
            self._mark([run.id])
        return announced

    def cancelled(self, ended: Sequence[Run]) -> None:
        """These were cancelled while no attempt held them."""
        self._mark([run.id for run in ended if self._end(run)])

    def state(self, state: State) -> None:
        """A state was added without a run."""
        self._append(state.thread_id, None, 0, [events.state_created(state)])

    def marked(self, state: State) -> None:
        """A state was named or starred."""
        self._append(state.thread_id, None, 0, [events.state_updated(state)])

    def thread(self, thread: Thread, *, deleted: bool = False) -> None:
        """A thread's own fields changed, or it was deleted."""
        event = events.thread_deleted(thread) if deleted else events.thread_updated(thread)
        hint = Hint(thread.workspace_id, {"type": event.type, "thread_id": thread.id})
        self._append(thread.id, None, 0, [event], hint)

    def hint_run(self, run: Run) -> None:
        """Have the lists and badges loaded again for a change that has no event."""
        hint = run_hint(run)
        try:
            self._notices.to_workspace(hint.workspace_id, hint.about)
        except StreamUnavailable:
            log.debug("a hint was not sent: Redis is away")

    def _end(self, run: Run, messages: Sequence[Message] = ()) -> bool:
        last = [*(events.message_completed(run, message) for message in messages), events.run_completed(run)]
        return self._append(run.thread_id, run.id, run.attempt, last, run_hint(run), messages)

    def _mark(self, run_ids: Sequence[str]) -> None:
        if not run_ids:
            return
        try:
            self._database.write(recovery.mark_announced, run_ids)
        except Unavailable:
            log.info("%d ends are announced but not marked; the reaper will do it again", len(run_ids))

    def _append(
        self,
        thread_id: str,
        run_id: str | None,
        attempt: int,
        entries: list[events.Event],
        hint: Hint | None = None,
        completed: Sequence[Message] = (),
    ) -> bool:
        """``completed``: messages that the entries complete, of which the log may have a part."""
        try:
            if run_id is not None:
                reset_if_incomplete(self._log, thread_id, run_id, attempt, completed)
            self._log.announce(thread_id, run_id, attempt, entries, hint)
        except StaleAttempt:
            return True  # a later attempt has appended more than this
        except StreamUnavailable:
            _log_unannounced(run_id, entries)
            return False
        return True


def _log_unannounced(run_id: str | None, entries: Sequence[events.Event]) -> None:
    log.warning("Redis is away; %s of run %s is not announced yet", entries[-1].type, run_id)
