"""Dispatch: accept a run, publish it, and what its user may do with it afterwards.

A run is accepted once its transaction is committed. Announcing and publishing come
after; what fails there is made up for by the reaper.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from runtime.errors import (
    FieldError,
    Invalid,
    StoreUnavailable,
    StreamUnavailable,
    Unavailable,
    WorkerUnavailable,
)
from runtime.model import Json, Role, Run, RunStatus, State, Thread, User
from runtime.queue.announcer import tell
from runtime.registry import Worker
from runtime.services import Services
from runtime.store import backlog, requests, runs, states, threads

_ACCEPTED_AT_ONCE = 3
"""In a burst, who came first is to be served first: all at once would all be served last."""


@dataclass(frozen=True, slots=True)
class NewThread:
    """The thread to make for a run that names none."""

    title: str | None = None
    """None: the beginning of the first message, until a worker names it if one is set."""
    metadata: Mapping[str, Json] = field(default_factory=dict)
    titles: str | None = None
    """The thread that this one, which is in no list, is made to name."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What a client asks for; its shape is checked, its meaning is not."""

    input_state_id: str | None = None
    """None: the root of a new thread."""
    messages: Sequence[states.NewMessage] = ()
    worker_id: str | None = None
    """None: the thread's own worker, and then also its config."""
    config: Mapping[str, Json] | None = None
    args: Json = None
    count: int = 1
    priority: int = 0
    timeout: float | None = None
    """Seconds; None: the worker's."""


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A client's own name for its request, and a digest of the request's body."""

    key: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """What was asked for is stored, and will be executed."""

    answer: dict[str, Json]
    """As JSON: runs, states, input_state, and for a new thread thread and root_state."""
    runs: Sequence[Run] = ()
    """Those that are new."""
    told: bool = True
    """Whether Redis and the broker have answered in time."""


class Dispatcher:
    """Makes, cancels and answers runs."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._settings = services.settings
        self._accepting = threading.BoundedSemaphore(_ACCEPTED_AT_ONCE)

    def create(
        self,
        user: User,
        target: str | NewThread,
        request: RunRequest,
        idempotency: IdempotencyKey | None = None,
    ) -> Accepted:
        """Accept the runs that ``request`` asks for on a thread (its id, or a new one).

        A request whose key was seen before gets the first answer again, and makes none.
        Raises NotFound, Conflict, Invalid, TooMany, StoreUnavailable.
        """
        self._services.availability.refresh()
        created: runs.Created | None
        with self._turn():
            if idempotency is None and isinstance(target, str):
                answer, created = self._accept_on_thread(user, target, request)
            else:
                answer, created = self._services.database.write(
                    self._accept, user, target, request, idempotency
                )
        if created is None:
            return Accepted(answer)
        return Accepted(answer, created.runs, tell(self._announce, created))

    def cancel(self, user: User, run_id: str) -> Run:
        """End a run that holds no process at once; have a running one ended. Idempotent."""
        run, changed = self._services.database.write(runs.cancel, user.workspace_id, run_id)
        if changed:
            tell(self._tell_cancelled, [run])
        return run

    def delete_thread(self, user: User, thread_id: str) -> None:
        """Put a thread out of sight and cancel its runs. Raises NotFound."""

        def delete(c: Any) -> tuple[Thread, list[Run]]:
            # In this order: the thread is locked, so that no run can begin on it meanwhile.
            return threads.delete(c, user.workspace_id, thread_id), runs.cancel_all(c, thread_id)

        thread, cancelled = self._services.database.write(delete)
        tell(self._tell_deleted, thread, cancelled)

    def answer(self, user: User, run_id: str, confirmation_id: str | None, answer: Json) -> Run:
        """Answer what a waiting run asked; it goes on. Raises Conflict if it does not wait."""
        run = self._services.database.write(runs.answer, user.workspace_id, run_id, confirmation_id, answer)
        tell(self._requeue, run)
        return run

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait for one's turn to be accepted. Raises StoreUnavailable where those before take too long."""
        if not self._accepting.acquire(timeout=self._settings.database.pool_timeout):
            raise StoreUnavailable
        try:
            yield
        finally:
            self._accepting.release()

    def _accept(
        self, c: Any, user: User, target: str | NewThread, request: RunRequest, key: IdempotencyKey | None
    ) -> tuple[dict[str, Json], runs.Created | None]:
        if key is not None:
            before = requests.begin(c, user.id, key.key, key.fingerprint)
            if before is not None:
                return before, None
        thread, root = self._thread(c, user, target, request)
        created = runs.accept(c, *self._asked(user, thread, request))
        answer = _answer(created)
        if root is not None:
            answer |= {"thread": thread.encode(), "root_state": root.encode()}
        if key is not None:
            requests.finish(c, user.id, key.key, answer)
        return answer, created

    def _accept_on_thread(
        self, user: User, thread_id: str, request: RunRequest
    ) -> tuple[dict[str, Json], runs.Created]:
        """The same for the most frequent request, whose parts need no transaction around them."""
        engine = self._services.database.engine
        thread = engine.get_thread(user.workspace_id, thread_id)
        created = engine.accept(*self._asked(user, thread, request))
        return _answer(created), created

    def _asked(
        self, user: User, thread: Thread, request: RunRequest
    ) -> tuple[Thread, str, str, Sequence[states.NewMessage], runs.RunSpec, runs.QueueLimits]:
        """What :func:`runs.accept` is to be told."""
        limits = self._settings.limits
        worker = self._worker(request.worker_id or thread.worker_id)
        near_capacity = self._services.availability.near_capacity(
            worker.pool, request.count, limits.queued_per_pool
        )
        bounds = runs.QueueLimits(
            per_user=limits.queued_per_user,
            per_pool=limits.queued_per_pool if near_capacity else 0,
            lease=self._settings.pool.lease,
            limited=bool(limits.running_per_user or worker.max_running),
        )
        start = request.input_state_id or thread.root_state_id
        return thread, user.id, start, request.messages, self._spec(thread, worker, request), bounds

    def _thread(
        self, c: Any, user: User, target: str | NewThread, request: RunRequest
    ) -> tuple[Thread, State | None]:
        if isinstance(target, str):
            return threads.get(c, user.workspace_id, target), None
        nameless = target.title is None and target.titles is None
        thread = threads.create(
            c,
            workspace_id=user.workspace_id,
            user_id=user.id,
            title=_first_words(request.messages) if nameless else target.title,
            worker_id=request.worker_id,
            config=dict(request.config or {}),
            metadata=dict(target.metadata),
            title_wanted=nameless and bool(self._settings.run.title_worker),
            titles=target.titles,
        )
        return thread, states.get(c, user.workspace_id, thread.root_state_id)

    def _spec(self, thread: Thread, worker: Worker, request: RunRequest) -> runs.RunSpec:
        config = request.config
        if config is None:
            config = thread.config if worker.id == thread.worker_id else {}
        defaults = self._settings.run
        return runs.RunSpec(
            worker_id=worker.id,
            worker_digest=worker.digest,
            pool=worker.pool,
            config=worker.check_config(dict(config)),
            args=request.args,
            max_attempts=worker.max_attempts or defaults.max_attempts,
            timeout_seconds=request.timeout or worker.timeout_seconds or defaults.timeout,
            priority=request.priority,
            count=request.count,
        )

    def _worker(self, worker_id: str | None) -> Worker:
        if worker_id is None:
            message = "Name a worker: the thread has none of its own."
            raise Invalid(message, [FieldError(("worker_id",), message)])
        worker = self._services.registry.get(worker_id)
        standing = self._services.availability.of(worker)
        if standing.refused:
            raise WorkerUnavailable(worker_id, standing.reason or "it cannot run now")
        return worker

    def _requeue(self, run: Run) -> None:
        self._services.announcer.requeued(run)
        self._publish(self._services.publisher.publish_next, run.pool)

    def _tell_deleted(self, thread: Thread, cancelled: Sequence[Run]) -> None:
        self._tell_cancelled(cancelled)
        self._services.announcer.thread(thread, deleted=True)

    def _tell_cancelled(self, cancelled: Sequence[Run]) -> None:
        """Announce those that have ended, and tell the pools of those that run."""
        ended = [run for run in cancelled if run.status is RunStatus.CANCELLED]
        self._services.announcer.cancelled(ended)
        for run in cancelled:
            if run.status is RunStatus.RUNNING and run.claimed_by:
                try:
                    self._services.notices.to_pool(run.claimed_by, {"type": "cancel", "run_id": run.id})
                except StreamUnavailable:
                    pass  # the pool learns of it when it renews the lease
        for pool in {run.pool for run in ended if run.published_at}:
            self._publish(self._services.publisher.publish_after, pool)

    def _publish(self, publish: Callable[[str], int], pool: str) -> None:
        try:
            publish(pool)
        except Unavailable:
            pass  # what was asked for is committed; the reaper publishes

    def _announce(self, created: runs.Created) -> None:
        # Published first: the pool sets about it while we announce. Should it be quicker,
        # the log has from it what we would have told.
        if created.published:
            self._services.publisher.publish([backlog.ticket(run) for run in created.runs])
        elif created.room:
            self._publish(self._services.publisher.publish_next, created.runs[0].pool)
        new = [created.input_state] if created.input_is_new else []
        for run, output in zip(created.runs, created.states, strict=True):
            self._services.announcer.created(run, *new, output)
            new = []


def _first_words(said: Sequence[states.NewMessage]) -> str | None:
    """The title of a thread that begins with these messages."""
    words = (threads.title_of(message.content) for message in said if message.role is Role.USER)
    return next(filter(None, words), None)


def _answer(created: runs.Created) -> dict[str, Json]:
    return {
        "runs": [run.encode() for run in created.runs],
        "states": [state.encode() for state in created.states],
        "input_state": created.input_state.encode(),
    }
