"""What every database can do: transactions, and the steps of a run that are worth a way of their own.

The steps are methods of :class:`Engine`, which performs each as a transaction made
of the functions of ``store``. That is right on every database. An engine overrides
those that its database can do in fewer round trips; the outcome, and every error,
stay the same (``tests/integration/store/engines/test_engines.py`` holds all ways to that).
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from enum import Enum
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeVar

import orjson
import sqlalchemy as sa
from sqlalchemy import Connection, event

from runtime.errors import StoreUnavailable
from runtime.model import Run, RunError, RunStatus, Thread
from runtime.store import attempts, backlog, outbox, runs, threads
from runtime.store.engines import failures
from runtime.store.engines.optimistic import OptimisticChange
from runtime.store.execute import Execute, on
from runtime.store.states import NewMessage
from runtime.store.windows import NO_WINDOWS, Windows

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


class Mode(Enum):
    """What a transaction is for."""

    READ = "read"
    """It changes nothing; each statement may see what was committed since the one before."""
    SNAPSHOT = "snapshot"
    """It changes nothing, and all that it reads is of one moment."""
    WRITE = "write"
    """It changes something."""
    STATEMENT = "statement"
    """It changes something by one statement, which is all or nothing by itself."""


class Engine(ABC):
    """One database, reached by as many connections as the settings allow."""

    def __init__(self, connections: sa.Engine) -> None:
        self.connections = connections
        self._outage = _Outage()
        self.carries_out: Callable[[outbox.Own], object] | None = None
        """What is called with each task that a transaction has put into the outbox, behind its commit."""
        event.listen(connections, "begin", _begin)

    @property
    def name(self) -> str:
        """``postgresql`` or ``sqlite``."""
        return self.connections.dialect.name

    def transaction(
        self,
        mode: Mode,
        function: Callable[Concatenate[Connection, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run ``function(connection, …)`` in a transaction and commit it.

        What the function raises rolls everything back. Raises StoreUnavailable
        where the database is busy or away.
        """
        if self.carries_out is None or mode is not Mode.WRITE:
            with self._outage:
                return self._run(mode, function, *args, **kwargs)
        own: list[outbox.Own] = []

        def noting(c: Connection, /, *args: P.args, **kwargs: P.kwargs) -> T:
            info = c.info  # of a connection that ends meanwhile nothing can be asked any more
            info[outbox.OWN] = own
            try:
                return function(c, *args, **kwargs)
            finally:
                info.pop(outbox.OWN, None)

        with self._outage:
            done = self._run(mode, noting, *args, **kwargs)
        for task in own:
            self.carries_out(task)
        return done

    def search(
        self,
        seconds: float,
        function: Callable[Concatenate[Connection, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run ``function(connection, …)``, which only reads, for at most so many seconds.

        Raises SearchTooLong when they are over, StoreUnavailable as any transaction.
        """

        def bounded(connection: Connection) -> T:
            with self._bounded(connection, seconds):
                return function(connection, *args, **kwargs)

        return self.transaction(Mode.SNAPSHOT, bounded)

    def is_open_to_all(self) -> bool:
        """Whether the server serves a stranger: a run has no password, and cannot read ours."""
        return False

    def close(self) -> None:
        """Close all idle connections."""
        self.connections.dispose()

    def get_thread(self, workspace_id: str, thread_id: str) -> Thread:
        """:func:`threads.get`, for a thread that is not deleted."""
        return self.transaction(Mode.READ, threads.get, workspace_id, thread_id)

    def get_run(self, workspace_id: str, run_id: str) -> Run:
        """:func:`runs.get`."""
        return self.transaction(Mode.READ, runs.get, workspace_id, run_id)

    def accept(
        self,
        thread: Thread,
        user_id: str,
        input_state_id: str,
        new_messages: Sequence[NewMessage],
        spec: runs.RunSpec,
        limits: runs.QueueLimits,
    ) -> runs.Created:
        """:func:`runs.accept`."""
        return self.transaction(
            Mode.WRITE, runs.accept, thread, user_id, input_state_id, new_messages, spec, limits
        )

    def accept_within(
        self,
        c: Connection,
        thread: Thread,
        user_id: str,
        input_state_id: str,
        new_messages: Sequence[NewMessage],
        spec: runs.RunSpec,
        limits: runs.QueueLimits,
    ) -> runs.Created:
        """:func:`runs.accept`, as a part of a transaction."""
        return runs.accept(c, thread, user_id, input_state_id, new_messages, spec, limits)

    def query(
        self, function: Callable[Concatenate[Execute, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call ``function(execute, …)``, which asks for a few rows that are asked for often.

        Each of its queries may see what was committed since the one before.
        """

        def query(c: Connection, /, *args: P.args, **kwargs: P.kwargs) -> T:
            return function(on(c), *args, **kwargs)

        return self.transaction(Mode.READ, query, *args, **kwargs)

    def accept_with(
        self,
        change: OptimisticChange[T],
        thread: Thread,
        user_id: str,
        input_state_id: str,
        new_messages: Sequence[NewMessage],
        spec: runs.RunSpec,
        limits: runs.QueueLimits,
    ) -> tuple[T, runs.Created]:
        """:func:`runs.accept` with a change, or neither. Raises what both raise."""

        def accept(c: Connection) -> tuple[T, runs.Created]:
            made = change.make(c)
            return made, runs.accept(c, thread, user_id, input_state_id, new_messages, spec, limits)

        return self.transaction(Mode.WRITE, accept)

    def apply(self, change: OptimisticChange[T]) -> T:
        """Make a change. Raises Conflict if what it was decided by has changed."""
        return self.transaction(Mode.WRITE, change.make)

    def claim(
        self,
        run_id: str,
        incarnation: str,
        lease: float,
        history: Mapping[str, int],
        *,
        windows: Windows = NO_WINDOWS,
        isolated: bool = False,
        only_published: bool = False,
        only_known: bool = False,
        sandboxes: str = "{}",
    ) -> attempts.Claim | None:
        """:func:`attempts.claim`."""
        return self.transaction(
            Mode.WRITE,
            attempts.claim,
            run_id,
            incarnation,
            lease,
            history,
            windows=windows,
            isolated=isolated,
            only_published=only_published,
            only_known=only_known,
            sandboxes=sandboxes,
        )

    def finish(
        self,
        run: Run,
        status: RunStatus,
        result: attempts.AttemptResult,
        *,
        error: RunError | None = None,
    ) -> Run:
        """:func:`attempts.finish`."""
        return self.transaction(Mode.WRITE, attempts.finish, run, status, result, error=error)

    def claim_for_publish(self, pool: str, lease: float, per_user: int = 0) -> list[backlog.Ticket]:
        """:func:`backlog.claim_for_publish`."""
        return self.transaction(Mode.WRITE, backlog.claim_for_publish, pool, lease, per_user)

    @abstractmethod
    def begin(self, mode: Mode) -> str | None:
        """The statement that begins a transaction; None where it needs none."""

    @abstractmethod
    def _bounded(self, connection: Connection, seconds: float) -> AbstractContextManager[None]:
        """Within it, in a snapshot, a statement is ended when the time is over. Raises SearchTooLong."""

    @abstractmethod
    def _run(
        self,
        mode: Mode,
        function: Callable[Concatenate[Connection, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """:meth:`transaction`, in the thread where this database's work is done."""

    def _run_here(
        self,
        mode: Mode,
        function: Callable[Concatenate[Connection, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        with unavailable_if_away(), self.connections.connect() as connection:
            connection.info["begin"] = self.begin(mode)
            with connection.begin():
                return function(connection, *args, **kwargs)


def dumps(value: Any) -> str:
    """A value as the text of a JSON column."""
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()


@contextmanager
def unavailable_if_away() -> Iterator[None]:
    """Within it, a database that is busy or away is StoreUnavailable; a fault of ours stays what it is."""
    try:
        yield
    except Exception as error:
        if failures.is_away(error):
            raise StoreUnavailable from error
        raise


class _Outage:
    """Logs once when the database is away, and once when it is back, however many calls fail."""

    def __init__(self) -> None:
        self._lasts = False

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            if self._lasts:
                self._lasts = False
                log.warning("the database answers again")
        elif isinstance(error, StoreUnavailable) and not self._lasts:
            self._lasts = True
            cause = getattr(error.__cause__, "orig", error.__cause__)
            log.warning("the database is busy or away: %s", str(cause).strip())


def _begin(connection: Connection) -> None:
    # The drivers' own transactions begin too late. SQLite's would not take the write lock
    # first, and a transaction that is upgraded while it runs fails instead of waiting.
    begin = connection.info.pop("begin", "BEGIN")
    if begin:
        connection.exec_driver_sql(begin)
