"""Announcements: telling the event log, and whoever watches lists, what is committed.

Always after the commit. What cannot be told now, because Redis is away, is told
by the next attempt or by the reaper: every event here has a fixed key, so telling
it twice shows once.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from runtime import events
from runtime.errors import StaleAttempt, StreamUnavailable, Unavailable
from runtime.model import Json, Message, Run, RunStatus, State, Thread
from runtime.store import Database, recovery
from runtime.stream import EventLog, Notices

log = logging.getLogger(__name__)


def birth(run: Run, *created: State) -> list[events.Event]:
    """The first events of a run, the same whoever appends them."""
    newborn = replace(run, attempt=0, failures=0, status=RunStatus.QUEUED, started_at=None, answers=())
    return [*(events.state_created(state, newborn) for state in created), events.run_queued(newborn)]


class Announcer:
    """Appends events that no attempt writes, and sends hints for lists."""

    def __init__(self, database: Database, log: EventLog, notices: Notices) -> None:
        self._database = database
        self._log = log
        self._notices = notices

    def created(self, run: Run, *states: State) -> None:
        """A run was accepted; ``states`` were made for it."""
        self._append(run.thread_id, run.id, 0, birth(run, *states))
        self.hint_run(run)

    def requeued(self, run: Run) -> None:
        """A waiting run was given its answer."""
        self._append(run.thread_id, run.id, run.attempt, [events.run_queued(run)])
        self.hint_run(run)

    def retried(self, run: Run, void: Sequence[str] = ()) -> None:
        """An attempt was lost; what it wrote is void, above all the messages ``void``."""
        self._append(run.thread_id, run.id, run.attempt + 1, [events.run_retried(run, void)])
        self.hint_run(run)

    def ended(self, run: Run, messages: Sequence[Message] = ()) -> bool:
        """A run has ended. True if the log has it now."""
        last = [events.message_completed(run, message) for message in messages]
        told = self._append(run.thread_id, run.id, run.attempt, [*last, events.run_completed(run)])
        if told:
            try:
                self._database.write(recovery.mark_announced, [run.id])
            except Unavailable:
                log.info("run %s is announced but not marked; the reaper will do it again", run.id)
        self.hint_run(run)
        return told

    def state(self, state: State) -> None:
        """A state was added without a run."""
        self._append(state.thread_id, None, 0, [events.state_created(state)])

    def thread(self, thread: Thread, *, deleted: bool = False) -> None:
        """A thread's own fields changed, or it was deleted."""
        event = events.thread_deleted(thread) if deleted else events.thread_updated(thread)
        self._append(thread.id, None, 0, [event])
        self._hint(thread.workspace_id, {"type": event.type, "thread_id": thread.id})

    def hint_run(self, run: Run) -> None:
        """Tell the lists and badges of the run's owner."""
        hint = {"type": "run.changed", "thread_id": run.thread_id, "run_id": run.id, "status": run.status}
        self._hint(run.workspace_id, hint)

    def _append(self, thread_id: str, run_id: str | None, attempt: int, entries: list[events.Event]) -> bool:
        try:
            self._log.announce(thread_id, run_id, attempt, entries)
        except StaleAttempt:
            return True  # a later attempt has told more than this
        except StreamUnavailable:
            log.warning("Redis is away; %s of run %s is not announced yet", entries[-1].type, run_id)
            return False
        return True

    def _hint(self, workspace_id: str, hint: dict[str, Json]) -> None:
        try:
            self._notices.to_workspace(workspace_id, hint)
        except StreamUnavailable:
            log.debug("a hint was not sent: Redis is away")
