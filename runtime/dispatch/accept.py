"""Acceptance: from a client's request to queued runs in the database."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from runtime.dispatch.request import IdempotencyKey, NewThread, RunRequest
from runtime.dispatch.titles import first_words
from runtime.errors import FieldError, Invalid, StoreUnavailable, WorkerUnavailable
from runtime.model import Json, State, Thread, User
from runtime.registry import Worker
from runtime.services import Services
from runtime.store import Connection, requests, runs, states, threads

_ACCEPTED_AT_ONCE = 3
"""In a burst, who came first is to be served first: all at once would all be served last."""


class Acceptance:
    """Checks requests and queues their runs, a few requests at a time."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._settings = services.settings
        self._semaphore = threading.BoundedSemaphore(_ACCEPTED_AT_ONCE)

    def accept(
        self, user: User, target: str | NewThread, request: RunRequest, key: IdempotencyKey | None
    ) -> tuple[dict[str, Json], runs.Created | None]:
        """The answer to ``request``, and what it made; None where its key was seen before.

        Raises what :meth:`Dispatcher.create` raises.
        """
        with self._admitted():
            if key is None and isinstance(target, str):
                return self._accept_on_thread(user, target, request)
            return self._services.database.write(self._accept, user, target, request, key)

    @contextmanager
    def _admitted(self) -> Iterator[None]:
        """Wait while others are being accepted. Raises StoreUnavailable where that takes too long."""
        if not self._semaphore.acquire(timeout=self._settings.database.pool_timeout):
            raise StoreUnavailable
        try:
            yield
        finally:
            self._semaphore.release()

    def _accept(
        self,
        c: Connection,
        user: User,
        target: str | NewThread,
        request: RunRequest,
        key: IdempotencyKey | None,
    ) -> tuple[dict[str, Json], runs.Created | None]:
        if key is not None:
            before = requests.begin(c, user.id, key.key, key.fingerprint)
            if before is not None:
                return before, None
        thread, root = self._thread(c, user, target, request)
        created = runs.accept(c, *self._arguments(user, thread, request))
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
        created = engine.accept(*self._arguments(user, thread, request))
        return _answer(created), created

    def _arguments(
        self, user: User, thread: Thread, request: RunRequest
    ) -> tuple[Thread, str, str, Sequence[states.NewMessage], runs.RunSpec, runs.QueueLimits]:
        """The arguments of :func:`runs.accept`."""
        limits = self._settings.limits
        worker = self._worker(request.worker_id or thread.worker_id)
        near_capacity = self._services.availability.near_capacity(
            worker.pool, request.count, limits.queued_per_pool
        )
        queue_limits = runs.QueueLimits(
            per_user=limits.queued_per_user,
            per_pool=limits.queued_per_pool if near_capacity else 0,
            lease=self._settings.pool.lease,
            limited=bool(limits.running_per_user or worker.max_running),
        )
        start = request.input_state_id or thread.root_state_id
        return thread, user.id, start, request.messages, self._spec(thread, worker, request), queue_limits

    def _thread(
        self, c: Connection, user: User, target: str | NewThread, request: RunRequest
    ) -> tuple[Thread, State | None]:
        if isinstance(target, str):
            return threads.get(c, user.workspace_id, target), None
        untitled = target.title is None and target.titles is None
        thread = threads.create(
            c,
            workspace_id=user.workspace_id,
            user_id=user.id,
            title=first_words(request.messages) if untitled else target.title,
            worker_id=request.worker_id,
            config=dict(request.config or {}),
            metadata=dict(target.metadata),
            title_wanted=untitled and bool(self._settings.run.title_worker),
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
        availability = self._services.availability.of(worker)
        if availability.refused:
            raise WorkerUnavailable(worker_id, availability.reason or "it cannot run now")
        return worker


def _answer(created: runs.Created) -> dict[str, Json]:
    return {
        "runs": [run.encode() for run in created.runs],
        "states": [state.encode() for state in created.states],
        "input_state": created.input_state.encode(),
    }
