"""Dispatch: accept a run, publish it, and what its user may do with it afterwards.

A run is accepted once its transaction is committed. Announcing and publishing come
after; what fails there is made up for by the reaper.

To cancel and to answer are one statement of the store each, and stand here with what
follows their commit; to accept is a module of its own (:mod:`runtime.dispatch.accept`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from runtime import logs
from runtime.dispatch.accept import Acceptance, Prepared, check_files
from runtime.dispatch.after_commit import after_commit
from runtime.dispatch.request import Accepted, IdempotencyKey, NewThread, RunRequest
from runtime.errors import Invalid, NotFound, StreamUnavailable, Unavailable, WorkerInvalid
from runtime.events import Event
from runtime.model import Json, Run, RunStatus, Thread, User
from runtime.registry.config_schema import ConfigSchema
from runtime.services import Services
from runtime.store import Connection, backlog, calls, files, queued_messages, requests, runs, states, threads
from runtime.store.states import NewMessage

log = logging.getLogger(__name__)


class Dispatcher:
    """Makes, cancels and answers runs."""

    def __init__(
        self, services: Services, check_turn: Callable[[Connection, Run], None] | None = None
    ) -> None:
        """``check_turn`` is called when messages were queued for a turn of a session, and raises where that
        may not have so many."""
        self._services = services
        self._check_turn = check_turn
        self._acceptance = Acceptance(services)

    def create(
        self,
        user: User,
        target: str | NewThread,
        request: RunRequest,
        idempotency: IdempotencyKey | None = None,
        note: Callable[[Connection, Run], None] | None = None,
    ) -> Accepted:
        """Accept the runs that ``request`` asks for on a thread (its id, or a new one).

        A request whose key was seen before gets the first answer again, and makes none. ``note`` is called
        with each run in the transaction that makes it. Raises NotFound, Conflict, Invalid, TooMany,
        StoreUnavailable.
        """
        answer, created = self._acceptance.accept(user, target, request, idempotency, note)
        if created is None:
            return Accepted(answer)
        return Accepted(answer, created.runs, after_commit(self.announce, created))

    def prepare(self, user: User, thread: str | Thread | NewThread, request: RunRequest) -> Prepared:
        """Check a run that is to be queued in a transaction of the caller, and then announced.

        ``thread``: its id, or the thread as it is now. Raises what :meth:`create` raises.
        """
        return self._acceptance.prepare(user, thread, request)

    def cancel(self, user: User | None, run_id: str) -> Run:
        """End a run that holds no process at once; have a running one ended. Idempotent.

        ``user``: whose run it must be; None for an operator. Raises NotFound.
        """
        workspace_id = user.workspace_id if user else None
        cancelled = self._services.database.write(runs.cancel, workspace_id, run_id)
        if cancelled.changed:
            below = self._services.database.read(calls.below, cancelled.run)
            after_commit(self._announce_ends, [cancelled.run, *below], cancelled.released)
        return cancelled.run

    def delete_thread(self, user: User, thread_id: str) -> None:
        """Put a thread out of sight and cancel its runs. Raises NotFound."""

        def delete(c: Any) -> tuple[Thread, list[Run]]:
            # In this order: the thread is locked, so that no run can begin on it meanwhile, and once
            # its runs are to end, none of them can make a sub-run.
            thread, cancelled = threads.delete(c, user.workspace_id, thread_id), runs.cancel_all(c, thread_id)
            threads.delete_called(c, thread_id)
            return thread, cancelled

        thread, cancelled = self._services.database.write(delete)
        after_commit(self._announce_deleted, thread, cancelled)

    def answer(self, user: User, run_id: str, confirmation_id: str | None, answer: Json) -> Run:
        """Answer what a waiting run asked; it goes on.

        Raises Conflict if it does not wait, and Invalid if the answer does not fit the question.
        """
        asked = self._services.database.engine.get_run(user.workspace_id, run_id).confirmation
        if asked and asked.get("schema") and confirmation_id in (None, asked["id"]):
            answer = _checked(answer, asked["schema"], user)
            confirmation_id = asked["id"]  # that it was checked for
        given = (user.workspace_id, run_id, confirmation_id, answer)
        answered = self._services.database.write(calls.answer, *given)
        after_commit(self._requeue, answered)
        return next(run for run in answered if run.id == run_id)

    def send(
        self, user: User, run_id: str, new: Sequence[NewMessage], idempotency: IdempotencyKey | None = None
    ) -> dict[str, Json]:
        """Queue messages for a run that is under way. Returns the answer to the request, as JSON.

        A request whose key was seen before gets the first answer again. Raises NotFound, Conflict
        where the run has ended, FileRefused, TooMany, and SessionFull.
        """
        database = self._services.database
        if ids := files.ids_of(new):
            worker = self._services.catalogue.find(
                database.engine.get_run(user.workspace_id, run_id).worker_id
            )
            check_files(worker, database.read(files.find, user.workspace_id, ids).values())

        def queue(c: Connection) -> tuple[dict[str, Json], Run | None]:
            if idempotency is not None:
                before = requests.begin(c, user.id, idempotency.key, idempotency.fingerprint)
                if before is not None:
                    return before, None
            run, queued = queued_messages.add(c, user.workspace_id, run_id, new)
            if run.session_id is not None and self._check_turn is not None:
                self._check_turn(c, run)
            answer: dict[str, Json] = {"messages": [message.encode() for message in queued]}
            if idempotency is not None:
                requests.finish(c, user.id, idempotency.key, answer)
            return answer, run

        answer, run = self._services.database.write(queue)
        if run is not None:
            after_commit(self._services.announcer.hint_run, run)
        return answer

    def take_back(self, user: User, run_id: str, message_id: str) -> None:
        """Remove a message that waits. Raises NotFound, and Conflict where it does not wait any more."""
        run = self._services.database.write(queued_messages.remove, user.workspace_id, run_id, message_id)
        after_commit(self._services.announcer.hint_run, run)

    def begin_next(self, run_id: str) -> None:
        """Begin the run that messages were left for when this one ended. What is begun stays one run.

        Raises what :meth:`create` raises.
        """
        database = self._services.database
        run = database.read(runs.find, run_id)
        if run is None:
            return  # it was purged with its thread
        try:
            created = self._acceptance.accept_next(run)
        except NotFound:
            return  # its thread was deleted
        if created is not None:
            self.announce(created)
        elif (begun := database.read(queued_messages.next_run, run_id)) is not None:
            # Perhaps by a process that died before it could announce it. A second time changes nothing.
            made = (begun.input_state_id, begun.output_state_id)
            self._services.announcer.created(
                begun, *(database.read(states.get, begun.workspace_id, state_id) for state_id in made)
            )

    def hint(self, run: Run) -> None:
        """Have lists that show this run be loaded again."""
        self._services.announcer.hint_run(run)

    def wake_pool(self, pool: str) -> None:
        """Tell a pool that a sub-run waits for it; the reaper does that again."""
        try:
            self._services.notices.to_pool_of_calls(pool)
        except StreamUnavailable:
            pass

    def tell_caller(self, run: Run) -> None:
        """Tell the process that executes the caller of a sub-run to look at it; else it does in a moment."""
        if run.call_id is None or run.parent_run_id is None:
            return
        with suppress(Unavailable):
            holder = self._services.database.read(calls.holder, run.parent_run_id)
            if holder is not None:
                self._services.notices.to_pool(holder, {"type": "child", "run_id": run.parent_run_id})

    def _requeue(self, settled: Sequence[Run]) -> None:
        """Announce runs whose questions are settled, and have them executed."""
        for run in settled:
            self._services.announcer.requeued(run)
            if run.call_id is None:
                self._publish(self._services.publisher.publish_next, run.pool)
            else:
                self.wake_pool(run.pool)

    def _announce_ends(self, cancelled: Sequence[Run], released: Sequence[Run]) -> None:
        self.announce_cancelled(cancelled)
        self._requeue(released)

    def _announce_deleted(self, thread: Thread, cancelled: Sequence[Run]) -> None:
        self.announce_cancelled(cancelled)
        self._services.announcer.thread(thread, deleted=True)

    def announce_cancelled(self, cancelled: Sequence[Run]) -> None:
        """Announce those that have ended, and tell the pools of those that run."""
        ended = [run for run in cancelled if run.status is RunStatus.CANCELLED]
        for run in ended:
            with logs.about(**run.about, status=run.status):
                log.info("the run ends")
        self._services.announcer.cancelled(ended)
        for run in cancelled:
            if run.status is RunStatus.RUNNING and run.claimed_by:
                try:
                    self._services.notices.to_pool(run.claimed_by, {"type": "cancel", "run_id": run.id})
                except StreamUnavailable:
                    pass  # the pool learns of it when it renews the lease
        ids = {run.id for run in cancelled}
        for run in ended:
            if run.parent_run_id not in ids:
                self.tell_caller(run)
        for pool in {run.pool for run in ended if run.published_at}:
            self._publish(self._services.publisher.publish_after, pool)

    def _publish(self, publish: Callable[[str], int], pool: str) -> None:
        try:
            publish(pool)
        except Unavailable:
            pass  # what was asked for is committed; the reaper publishes

    def announce(self, created: runs.Created, also: Sequence[Event] = ()) -> bool:
        """Have runs executed that are committed, and append them to the log.

        ``also`` are events that come behind those of the last run. True if the log has these now.
        """
        # Published first, so that the pool starts while this process still announces. If the
        # pool is quicker, it has appended the same events already, and ours are refused.
        if created.published:
            self._services.publisher.publish([backlog.ticket(run) for run in created.runs])
        elif created.room:
            self._publish(self._services.publisher.publish_next, created.runs[0].pool)
        has_also = False
        new = [created.input_state] if created.input_is_new else []
        for number, (run, output) in enumerate(zip(created.runs, created.states, strict=True), 1):
            behind = also if number == len(created.runs) else ()
            has_also = self._services.announcer.created(run, *new, output, also=behind)
            new = []
        return has_also


def _checked(answer: Json, schema: Mapping[str, Json], user: User) -> Json:
    try:
        return ConfigSchema(schema, "answer").check(answer, user.id)
    except WorkerInvalid as error:
        raise Invalid(f"The answer cannot be checked: {error}.") from error
