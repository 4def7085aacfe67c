"""Acceptance: from a client's request to queued runs in the database."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypedDict, TypeVar, Unpack

from runtime.dispatch.request import IdempotencyKey, NewThread, RunRequest
from runtime.dispatch.titles import first_words
from runtime.errors import FieldError, FileRefused, Invalid, StoreUnavailable, WorkerUnavailable
from runtime.model import File, Json, Run, State, Thread, User
from runtime.registry import Manifest
from runtime.services import Services
from runtime.store import Connection, files, queued_messages, requests, runs, states, threads, users
from runtime.store.engines.optimistic import OptimisticChange

T = TypeVar("T")
_ACCEPTED_AT_ONCE = 3
"""In a burst, who came first is to be served first: all at once would all be served last."""


@dataclass(frozen=True, slots=True)
class _Checked:
    """What a request asks for, once it is known to be possible."""

    thread: Thread | None
    """None: one that is to be made."""
    worker: Manifest
    config: dict[str, Json]
    """With the defaults of the worker's schema."""


class OfSession(TypedDict, total=False):
    """What a run has that is a turn of a session, or an entity's; see :class:`runs.RunSpec`."""

    run_id: str
    session_id: str
    turn: int
    awaited_by: str
    message: Mapping[str, Json]
    window: Mapping[str, Json]


class Prepared:
    """A run that may be queued: what is asked for is checked, and its messages and place are not."""

    def __init__(self, acceptance: Acceptance, user: User, request: RunRequest, checked: _Checked) -> None:
        self._acceptance = acceptance
        self._user = user
        self._request = request
        self._checked = checked

    def queue(
        self,
        c: Connection,
        input_state_id: str,
        messages: Sequence[states.NewMessage],
        *,
        args: Json = None,
        **of_session: Unpack[OfSession],
    ) -> runs.Created:
        """Queue it with these messages below a state. Raises what :meth:`Dispatcher.create` raises."""
        thread = self._checked.thread
        assert thread is not None
        messages = files.name(c, self._user.workspace_id, thread.id, messages)
        request = replace(self._request, input_state_id=input_state_id, messages=messages, args=args)
        return self._acceptance.queue(c, self._user, thread, request, self._checked, of_session)

    def queue_with(
        self,
        change: OptimisticChange[T],
        input_state_id: str,
        messages: Sequence[states.NewMessage],
        *,
        args: Json = None,
        **of_session: Unpack[OfSession],
    ) -> tuple[T, runs.Created]:
        """The same in a transaction of its own, with a change or not at all; ``messages`` name no files.

        Raises Conflict, too, if what the change was decided by is not so any more.
        """
        thread = self._checked.thread
        assert thread is not None
        request = replace(self._request, input_state_id=input_state_id, messages=messages, args=args)
        return self._acceptance.queue_with(change, self._user, thread, request, self._checked, of_session)

    def window_size(self, default: int) -> int:
        """How many messages it is given of the conversation; ``default``: where its worker does not say."""
        return self._checked.worker.window_size(default)

    @property
    def summary_worker(self) -> str | None:
        """Which worker sums up what that leaves out, as its own says it; None: nobody does."""
        return self._checked.worker.summary_worker


class Acceptance:
    """Checks requests and queues their runs, a few requests at a time."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._settings = services.settings
        self._semaphore = threading.BoundedSemaphore(_ACCEPTED_AT_ONCE)

    def accept(
        self,
        user: User,
        target: str | NewThread,
        request: RunRequest,
        key: IdempotencyKey | None,
        note: Callable[[Connection, Run], None] | None = None,
    ) -> tuple[dict[str, Json], runs.Created | None]:
        """The answer to ``request``, and what it made; None where its key was seen before.

        ``note`` is called with each run in the transaction that makes it. Raises what
        :meth:`Dispatcher.create` raises.
        """
        database = self._services.database
        if key is not None:
            before = database.read(requests.find, user.id, key.key, key.fingerprint)
            if before is not None:
                return before, None
        checked = self._check(user, target, request)
        with self._admitted():
            alone = key is None and note is None
            if alone and checked.thread is not None and not files.ids_of(request.messages):
                created = database.engine.accept(*self._arguments(user, checked.thread, request, checked))
                return _answer(created), created
            return database.write(self._accept, user, target, request, key, checked, note)

    def accept_next(self, run: Run) -> runs.Created | None:
        """Queue the run that messages were left for which ``run`` has not read; None where there are none.

        It has the same worker, config and arguments. Raises what :meth:`Dispatcher.create` raises.
        """
        database = self._services.database
        if not database.read(queued_messages.waiting, run.id):
            return None
        user = database.read(users.get, run.user_id)
        request = RunRequest(
            input_state_id=run.output_state_id,
            worker_id=run.worker_id,
            config=run.config,
            args=run.args,
            priority=run.priority,
            timeout=run.timeout_seconds,
        )
        checked = self._check(user, run.thread_id, request)

        def accept(c: Connection) -> runs.Created | None:
            left = queued_messages.claim(c, run.id)
            if not left or checked.thread is None:
                return None
            asked = replace(request, messages=[*map(queued_messages.as_new, left)])
            created = database.engine.accept_within(c, *self._arguments(user, checked.thread, asked, checked))
            queued_messages.begin(c, left, created.runs[0].id)
            return created

        with self._admitted():
            return database.write(accept)

    def prepare(self, user: User, thread: str | Thread | NewThread, request: RunRequest) -> Prepared:
        """Check what is asked for on a thread, in no transaction. What is for a new one is not queued.

        Raises what :meth:`Dispatcher.create` raises.
        """
        return Prepared(self, user, request, self._check(user, thread, request))

    def queue(
        self,
        c: Connection,
        user: User,
        thread: Thread,
        request: RunRequest,
        checked: _Checked,
        of_session: OfSession,
    ) -> runs.Created:
        """Queue what was prepared."""
        arguments = self._arguments(user, thread, request, checked, of_session)
        return self._services.database.engine.accept_within(c, *arguments)

    def queue_with(
        self,
        change: OptimisticChange[T],
        user: User,
        thread: Thread,
        request: RunRequest,
        checked: _Checked,
        of_session: OfSession,
    ) -> tuple[T, runs.Created]:
        """Queue what was prepared, with a change."""
        arguments = self._arguments(user, thread, request, checked, of_session)
        return self._services.database.engine.accept_with(change, *arguments)

    def call_spec(
        self,
        caller: Run,
        worker_id: str,
        config: Mapping[str, Json],
        args: Json,
        file_ids: Sequence[str],
        seconds: float,
    ) -> runs.RunSpec:
        """What a sub-run of ``caller`` is to be, which has ``seconds`` left.

        Raises Invalid, or WorkerElsewhere where only another process has the worker.
        """
        worker = self._worker(worker_id)
        if file_ids:
            found = self._services.database.read(files.of_thread, caller.thread_id, file_ids)
            check_files(worker, found.values())
        checked = _Checked(None, worker, worker.check_config(config, caller.user_id))
        spec = self._spec(RunRequest(args=args), checked)
        return replace(spec, timeout_seconds=min(spec.timeout_seconds, seconds))

    @contextmanager
    def _admitted(self) -> Iterator[None]:
        """Wait while others are being accepted. Raises StoreUnavailable where that takes too long."""
        if not self._semaphore.acquire(timeout=self._settings.database.pool_timeout):
            raise StoreUnavailable
        try:
            yield
        finally:
            self._semaphore.release()

    def _check(self, user: User, target: str | Thread | NewThread, request: RunRequest) -> _Checked:
        """What ``request`` asks for, checked. To be called in no transaction: a config may take a second."""
        thread = target if isinstance(target, Thread) else None
        if isinstance(target, str):
            thread = self._services.database.engine.get_thread(user.workspace_id, target)
        of_thread = thread.worker_id if thread else None
        worker = self._worker(request.worker_id or of_thread)
        config = request.config
        if config is None:
            config = thread.config if thread and worker.id == of_thread else {}
        check_files(worker, self._files_for(user, thread, request))
        return _Checked(thread, worker, worker.check_config(config, user.id))

    def _files_for(self, user: User, thread: Thread | None, request: RunRequest) -> Collection[File]:
        """The files that a run is asked about: those of its new messages, or of the state that it answers."""
        database = self._services.database
        if ids := files.ids_of(request.messages):
            return database.read(files.find, user.workspace_id, ids).values()
        if thread is None or request.messages or request.input_state_id is None:
            return ()
        return database.read(files.of_state, thread.id, request.input_state_id)

    def _accept(
        self,
        c: Connection,
        user: User,
        target: str | NewThread,
        request: RunRequest,
        key: IdempotencyKey | None,
        checked: _Checked,
        note: Callable[[Connection, Run], None] | None,
    ) -> tuple[dict[str, Json], runs.Created | None]:
        if key is not None:
            before = requests.begin(c, user.id, key.key, key.fingerprint)
            if before is not None:
                return before, None
        thread, root = checked.thread, None
        if isinstance(target, NewThread):
            thread, root = self._new_thread(c, user, target, request)
        assert thread is not None
        request = replace(request, messages=files.name(c, user.workspace_id, thread.id, request.messages))
        arguments = self._arguments(user, thread, request, checked)
        if isinstance(target, NewThread) and target.awaited_by is not None:
            arguments = (*arguments[:4], replace(arguments[4], awaited_by=target.awaited_by), arguments[5])
        created = self._services.database.engine.accept_within(c, *arguments)
        if note is not None:
            for run in created.runs:
                note(c, run)
        answer = _answer(created)
        if root is not None:
            answer |= {"thread": thread.encode(), "root_state": root.encode()}
        if key is not None:
            requests.finish(c, user.id, key.key, answer)
        return answer, created

    def _arguments(
        self,
        user: User,
        thread: Thread,
        request: RunRequest,
        checked: _Checked,
        of_session: OfSession | None = None,
    ) -> tuple[Thread, str, str, Sequence[states.NewMessage], runs.RunSpec, runs.QueueLimits]:
        """The arguments of :func:`runs.accept`."""
        limits = self._settings.limits
        worker = checked.worker
        near_capacity = self._services.catalogue.near_capacity(
            worker.pool, request.count, limits.queued_per_pool
        )
        queue_limits = runs.QueueLimits(
            per_user=limits.queued_per_user,
            per_pool=limits.queued_per_pool if near_capacity else 0,
            lease=self._settings.pool.lease,
            limited=bool(limits.running_per_user or worker.max_running),
        )
        start = request.input_state_id or thread.root_state_id
        spec = replace(self._spec(request, checked), **(of_session or {}))
        return thread, user.id, start, request.messages, spec, queue_limits

    def _new_thread(
        self, c: Connection, user: User, target: NewThread, request: RunRequest
    ) -> tuple[Thread, State]:
        untitled = target.title is None and target.helps is None
        thread = threads.create(
            c,
            workspace_id=user.workspace_id,
            user_id=user.id,
            title=_title(c, user, request) if untitled else target.title,
            worker_id=request.worker_id,
            config=dict(request.config or {}),
            metadata=dict(target.metadata),
            title_wanted=untitled and bool(self._settings.run.title_worker),
            titles=target.helps,
        )
        return thread, states.get(c, user.workspace_id, thread.root_state_id)

    def _spec(self, request: RunRequest, checked: _Checked) -> runs.RunSpec:
        worker = checked.worker
        defaults = self._settings.run
        return runs.RunSpec(
            worker_id=worker.id,
            worker_digest=worker.digest,
            pool=worker.pool,
            config=checked.config,
            args=request.args,
            max_attempts=worker.max_attempts or defaults.max_attempts,
            timeout_seconds=request.timeout or worker.timeout_seconds or defaults.timeout,
            priority=request.priority,
            count=request.count,
        )

    def _worker(self, worker_id: str | None) -> Manifest:
        if worker_id is None:
            message = "Name a worker: the thread has none of its own."
            raise Invalid(message, [FieldError(("worker_id",), message)])
        worker = self._services.catalogue.find(worker_id)
        availability = self._services.catalogue.availability(worker)
        if availability.refused:
            raise WorkerUnavailable(worker_id, availability.reason or "it cannot run now")
        return worker


def check_files(worker: Manifest, named: Collection[File]) -> None:
    """Check that a worker takes these files. Raises FileRefused."""
    for file in named:
        if not worker.takes(file.type):
            raise FileRefused(worker.id, worker.accepts, file.name, file.type)


def _title(c: Connection, user: User, request: RunRequest) -> str | None:
    """What a thread is called that begins with these messages: their first words, or else the first file."""
    title = first_words(request.messages)
    if title is None and (ids := files.ids_of(request.messages)):
        found = files.find(c, user.workspace_id, ids[:1])
        title = next((file.name for file in found.values()), None)
    return title


def _answer(created: runs.Created) -> dict[str, Json]:
    return {
        "runs": [run.encode() for run in created.runs],
        "states": [state.encode() for state in created.states],
        "input_state": created.input_state.encode(),
    }
