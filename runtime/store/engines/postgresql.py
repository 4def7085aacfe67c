"""The PostgreSQL engine: frequent steps take as few round trips as possible.

Each round trip costs this process about as much as the server, and a transaction adds
two, for BEGIN and COMMIT. So connections use autocommit, and only snapshots and writes
of several statements send BEGIN. Accepting and ending a run take one statement each,
claiming it takes two, on psycopg's own cursor. Statements of SQLAlchemy are compiled once,
when this module is imported.

Each of these statements does all of its work or nothing. If an accept did nothing (the
thread is gone, a limit would be exceeded), or the texts are too large for it, the
generic transaction in :class:`Engine` runs: it does the step, or raises the error that
says why not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import orjson
import psycopg
import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from runtime.errors import SearchTooLong, StoreUnavailable
from runtime.model import Message, Run, RunError, RunStatus, State, Thread, new_id
from runtime.settings import Database as Settings
from runtime.settings.database_address import PostgreSQLServer
from runtime.store import (
    attempts,
    backlog,
    follow_ups,
    messages,
    outbox,
    runs,
    saved_values,
    states,
    tables,
    threads,
    turns,
)
from runtime.store.engines import postgresql_connection, postgresql_statements
from runtime.store.engines.engine import Engine, Mode, dumps, unavailable_if_away
from runtime.store.engines.optimistic import OptimisticChange
from runtime.store.execute import Execute
from runtime.store.folding import stored
from runtime.store.windows import NO_WINDOWS, Windows, open_window

P = ParamSpec("P")
T = TypeVar("T")
Psycopg = psycopg.Connection[tuple[Any, ...]]

_BEGIN = {Mode.SNAPSHOT: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", Mode.WRITE: "BEGIN"}
_MAX_TEXT = 256 * 1024
"""Characters of message text that one statement is given as JSON; more of them are slow that way."""


class PostgreSQL(Engine):
    """A PostgreSQL server."""

    def __init__(self, address: PostgreSQLServer, settings: Settings) -> None:
        self._connector = postgresql_connection.Connector(address, settings.statement_timeout)
        super().__init__(_connections(settings, self._connector))
        self._address = address
        self._distrusted = False
        """Whether a connection broke in use: the idle ones probably broke too."""
        event.listen(self.connections, "checkout", self._refuse_broken)

    def begin(self, mode: Mode) -> str | None:
        """A read has no BEGIN: under READ COMMITTED each statement sees the latest commit anyway.

        Nor has a single statement, which is a transaction by itself.
        """
        statement = _BEGIN.get(mode)
        return statement and statement + self._connector.settings_of_transaction

    @contextmanager
    def _bounded(self, connection: sa.Connection, seconds: float) -> Iterator[None]:
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {max(1, int(seconds * 1000))}")
        try:
            yield
        except exc.OperationalError as error:
            if isinstance(error.orig, psycopg.errors.QueryCanceled):
                raise SearchTooLong(seconds) from error
            raise

    def is_open_to_all(self) -> bool:
        """Connects without a password, as by the rules ``trust``, ``peer`` and ``ident``.

        False where it does not answer.
        """
        return postgresql_connection.welcomes_strangers(self._address)

    def get_thread(self, workspace_id: str, thread_id: str) -> Thread:
        """One statement, in place of the transaction of :meth:`Engine.get_thread`."""
        with self._autocommit() as c:
            row = _GET_THREAD.row(c, {"workspace": workspace_id, "thread": thread_id})
        return threads.record_or_raise(row)

    def get_run(self, workspace_id: str, run_id: str) -> Run:
        """One statement, in place of the transaction of :meth:`Engine.get_run`."""
        with self._autocommit() as c:
            row = _GET_RUN.row(c, {"this_run": run_id, "workspace": workspace_id})
        return runs.record_or_raise(row)

    def accept(
        self,
        thread: Thread,
        user_id: str,
        input_state_id: str,
        new_messages: Sequence[states.NewMessage],
        spec: runs.RunSpec,
        limits: runs.QueueLimits,
    ) -> runs.Created:
        """One statement where messages are given; without them the input state has to be read as well."""
        created = None
        if new_messages and _fits(new_messages):
            with self._autocommit() as c:
                created = _accept(c, thread, user_id, input_state_id, new_messages, spec, limits)
        if created is None:
            return super().accept(thread, user_id, input_state_id, new_messages, spec, limits)
        return created

    def accept_within(
        self,
        c: sa.Connection,
        thread: Thread,
        user_id: str,
        input_state_id: str,
        new_messages: Sequence[states.NewMessage],
        spec: runs.RunSpec,
        limits: runs.QueueLimits,
    ) -> runs.Created:
        """One statement where messages are given, as :meth:`accept`."""
        created = None
        if new_messages and _fits(new_messages):
            connection = cast(Psycopg, c.connection.driver_connection)
            with self._noting_end(connection, c):
                created = _accept(connection, thread, user_id, input_state_id, new_messages, spec, limits)
        if created is None:
            return super().accept_within(c, thread, user_id, input_state_id, new_messages, spec, limits)
        return created

    def query(
        self, function: Callable[Concatenate[Execute, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Without SQLAlchemy, in place of the transaction of :meth:`Engine.query`."""
        with self._autocommit() as c:
            return function(_executor(c), *args, **kwargs)

    def accept_with(
        self,
        change: OptimisticChange[T],
        thread: Thread,
        user_id: str,
        input_state_id: str,
        new_messages: Sequence[states.NewMessage],
        spec: runs.RunSpec,
        limits: runs.QueueLimits,
    ) -> tuple[T, runs.Created]:
        """One statement where messages are given, as :meth:`accept`."""
        created = None
        if new_messages and _fits(new_messages):
            with self._autocommit() as c:
                created = _accept(
                    c, thread, user_id, input_state_id, new_messages, spec, limits, change=change
                )
        if created is None:
            return super().accept_with(change, thread, user_id, input_state_id, new_messages, spec, limits)
        return change.made(created.states[0].created_at), created

    def apply(self, change: OptimisticChange[T]) -> T:
        """One statement."""
        statement = _statement(postgresql_statements.apply(change.guard, change.changes))
        with self._autocommit() as c:
            row = statement.row(c, change.values)
        return super().apply(change) if row is None else change.made(row[0])

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
        """Two statements: claim the run, then read its messages; more after a first attempt or a window."""
        how = {
            "isolated": isolated,
            "only_published": only_published,
            "only_known": only_known,
            "sandboxes": sandboxes,
        }
        with self._autocommit() as c:
            row = _CLAIM.row(c, {"this_run": run_id, "claimant": incarnation, "lease": lease, **how})
            if row is None:
                return None
            try:
                return _claimed(c, row, history, windows)
            except Exception:
                # No child was started: undo the claim, so that the attempt's number is used again.
                # If the database is unavailable as well, the lease runs out.
                with suppress(psycopg.Error):
                    _UNCLAIM.run(c, {"run": run_id, "claimant": incarnation})
                raise

    def finish(
        self,
        run: Run,
        status: RunStatus,
        result: attempts.AttemptResult,
        *,
        error: RunError | None = None,
    ) -> Run:
        """One statement, unless more is to be stored than small messages, or more to be done for its run."""
        more = follow_ups.has_more(run) or result.steps or result.log or result.data or result.title_wanted
        if more or result.sent or not _fits(result.messages):
            return super().finish(run, status, result, error=error)
        values = {
            "run": run.id,
            "attempt": run.attempt,
            "status": str(status),
            "error": dumps(error.encode()) if error else None,
            "usage": None if result.usage is None else dumps(result.usage),
            "messages": dumps(list(result.messages)),
            "folded": _folded(result.messages),
            "first_delta": result.first_delta,
            "finish": result.finish,
        }
        statement, task = _FINISH, None
        if run.session_id is not None:
            statement, task = _FINISH_TURN, turns.task(replace(run, status=status))
            delay = outbox.HEAD_START if self.carries_out else 0.0
            values |= {"kind": task[0], "key": task[1], "payload": dumps(task[2]), "delay": delay}
        with self._autocommit() as c:
            row = statement.row(c, values)
        if row is None:
            return super().finish(run, status, result, error=error)
        if task is not None and self.carries_out is not None:
            self.carries_out(task)
        finished_at, cancel_requested_at = row
        return attempts.ended(run, status, error, result, finished_at, cancel_requested_at)

    def claim_for_publish(self, pool: str, lease: float, per_user: int = 0) -> list[backlog.Ticket]:
        """A cheap look first; the locking transaction only if something can be published."""
        with self._autocommit() as c:
            rows = _CAPACITY.rows(c, {"pool": pool, "lease": -lease})
        return super().claim_for_publish(pool, lease, per_user) if backlog.capacity_of(rows).free else []

    def _run(
        self,
        mode: Mode,
        function: Callable[Concatenate[sa.Connection, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        return self._run_here(mode, function, *args, **kwargs)

    @contextmanager
    def _autocommit(self) -> Iterator[Psycopg]:
        """A connection of psycopg's own from the pool, in autocommit."""
        with self._outage, unavailable_if_away():
            pooled = self.connections.raw_connection()
            connection = cast(Psycopg, pooled.driver_connection)
            try:
                with self._noting_end(connection, pooled):
                    yield connection
            finally:
                pooled.close()

    @contextmanager
    def _noting_end(
        self, connection: Psycopg, pooled: sa.Connection | sa.PoolProxiedConnection
    ) -> Iterator[None]:
        """Raises StoreUnavailable where the connection ends, whatever the server gives as the reason."""
        try:
            yield
        except psycopg.Error as error:
            if connection.closed:
                self._distrusted = True
                pooled.invalidate(error)
                raise StoreUnavailable from error
            raise

    def _refuse_broken(self, connection: Any, *pooled: Any) -> None:
        """On checkout: if this connection has ended, or another one broke in use, discard all idle ones."""
        if self._distrusted or postgresql_connection.ended(connection):
            self._distrusted = False
            raise exc.InvalidatePoolError("the server has closed the connection, or does not answer")


def _connections(settings: Settings, connector: postgresql_connection.Connector) -> sa.Engine:
    return sa.create_engine(
        postgresql_connection.DRIVER,
        creator=connector.connect,
        hide_parameters=True,  # errors are logged, and parameters hold texts of users and hashes of passwords
        json_serializer=dumps,
        json_deserializer=orjson.loads,
        pool_size=settings.pool_size,
        max_overflow=0,
        pool_timeout=settings.pool_timeout,
        pool_use_lifo=True,
    )


def _fits(written: Sequence[states.NewMessage] | Sequence[Message]) -> bool:
    """Whether these messages go into one statement. Those that name files are rare, and never do."""
    if any(message.files for message in written):
        return False
    return sum(len(message.content) for message in written) <= _MAX_TEXT


def _folded(written: Sequence[states.NewMessage] | Sequence[Message]) -> str:
    """What is stored of each message for the search, as JSON."""
    return dumps([stored(message.content) for message in written])


def _accept(
    c: Psycopg,
    thread: Thread,
    user_id: str,
    input_state_id: str,
    new_messages: Sequence[states.NewMessage],
    spec: runs.RunSpec,
    limits: runs.QueueLimits,
    *,
    change: OptimisticChange[object] | None = None,
) -> runs.Created | None:
    """The runs and states that were made; None where the statement has made nothing.

    ``change``: what is made with it.
    """
    ids = sorted(new_id() for _ in range(1 + spec.count))
    run_ids = spec.new_run_ids()
    identified = [replace(message, id=message.id or new_id()) for message in new_messages]
    values = {
        "thread": thread.id,
        "workspace": thread.workspace_id,
        "user": user_id,
        "parent": input_state_id,
        "input": ids[0],
        "latest": ids[-1],
        "messages": dumps(identified),
        "folded": _folded(identified),
        "outputs": dumps(list(zip(ids[1:], run_ids, strict=True))),
        **_spec_values(spec),
        "per_user": limits.per_user,
        "per_pool": limits.per_pool,
        "lease": limits.lease,
        "limited": limits.limited,
    }
    statement = _ACCEPT
    if change is not None:
        statement = _statement(postgresql_statements.accept_with(change.guard, change.changes))
        values |= change.values
    row = statement.row(c, values)
    if row is None:
        return None
    depth, children, moment, published, room = row
    branch = states.Branch(thread.id, input_state_id, depth + 1, children - 1, moment)
    input_state, outputs = states.turn(branch, ids, identified, run_ids)
    created = runs.queued(thread, user_id, input_state.id, outputs, spec, published=published)
    return runs.Created(created, outputs, input_state, True, published, room)


def _spec_values(spec: runs.RunSpec) -> dict[str, Any]:
    return {
        "parent_run": spec.parent_run_id,
        "worker": spec.worker_id,
        "digest": spec.worker_digest,
        "pool": spec.pool,
        "config": dumps(spec.config),
        "args": None if spec.args is None else dumps(spec.args),
        "max_attempts": spec.max_attempts,
        "timeout": spec.timeout_seconds,
        "priority": spec.priority,
        "count": spec.count,
        "window": None if spec.window is None else dumps(spec.window),
        "session": spec.session_id,
        "turn": spec.turn,
        "awaited_by": spec.awaited_by,
        "message": None if spec.message is None else dumps(spec.message),
    }


def _claimed(
    c: Psycopg, row: tuple[Any, ...], history: Mapping[str, int], windows: Windows
) -> attempts.Claim:
    """The claim with its messages; ``row`` has the columns of the run, then of its output state."""
    width = len(runs.COLUMNS)
    run = runs.record(row[:width])
    *output, data_of, title, metadata, title_wanted = row[width:]
    size = windows.of(run)
    if size is None:
        newest = states.newest(run.input_state_id, history.get(run.worker_id, history[""]))
        window = [messages.record(row) for row in reversed(_WINDOW.rows(c, newest))]
    else:
        opened = open_window(_executor(c), "postgresql", run, State(*output).depth, size)
        run, window = replace(run, window=opened.kept), opened.messages
    before = _MESSAGES.rows(c, {"state": run.output_state_id}) if run.attempt > 1 else []
    earlier, open_ones = messages.divided([messages.record(row) for row in before])
    saved = _SAVED.rows(c, {"this_run": run.id}) if run.attempt > 1 else []
    data = _DATA.row(c, {"state": data_of}) if data_of else None
    return attempts.Claim(
        run,
        State(*output),
        window,
        earlier,
        open_ones,
        [saved_values.SavedValue(*row) for row in saved],
        {"id": run.thread_id, "title": title, "metadata": metadata},
        data and data[0],
        title_wanted,
    )


def _executor(c: Psycopg) -> Execute:
    """Executes statements of SQLAlchemy without it, each compiled once."""

    def execute(statement: Any, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        given = {
            name: dumps(value) if isinstance(value, Mapping) else value for name, value in parameters.items()
        }
        return _compiled(statement).rows(c, given)

    return execute


class _Statement:
    """A statement with psycopg's named parameters, made once what the server takes.

    psycopg does this at each execution, unless the statement is short and it has done it before.
    """

    def __init__(self, sql: bytes, defaults: Mapping[str, Any] | None = None) -> None:
        self._names: list[str] = []
        self._sql = _PARAMETER.sub(self._number, sql).replace(b"%%", b"%")
        self._defaults = defaults or {}

    @classmethod
    def of(cls, statement: sa.ClauseElement) -> _Statement:
        """What SQLAlchemy makes of it, with its default parameters."""
        compiled = statement.compile(dialect=_DIALECT)
        return cls(str(compiled).encode(), compiled.params)

    def rows(self, c: Psycopg, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Execute it; all rows."""
        return self._execute(c, parameters).fetchall()

    def row(self, c: Psycopg, parameters: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """Execute it; the only row, or None."""
        return self._execute(c, parameters).fetchone()

    def run(self, c: Psycopg, parameters: Mapping[str, Any]) -> None:
        """Execute it; it has no rows."""
        self._execute(c, parameters)

    def _execute(self, c: Psycopg, parameters: Mapping[str, Any]) -> psycopg.RawCursor[tuple[Any, ...]]:
        given = {**self._defaults, **parameters}
        return psycopg.RawCursor(c).execute(self._sql, [given[name] for name in self._names])

    def _number(self, parameter: re.Match[bytes]) -> bytes:
        name = parameter[1].decode()
        if name not in self._names:
            self._names.append(name)
        return b"$%d" % (self._names.index(name) + 1)


@cache
def _compiled(statement: sa.ClauseElement) -> _Statement:
    """The same one for the same statement."""
    return _Statement.of(statement)


@cache
def _statement(sql: bytes) -> _Statement:
    """The same one for the same text."""
    return _Statement(sql)


_PARAMETER = re.compile(rb"%\((\w+)\)s")
_DIALECT: sa.Dialect = PGDialect_psycopg()  # type: ignore[no-untyped-call]
_GET_THREAD = _Statement.of(threads.GET_LIVE)
_GET_RUN = _Statement.of(runs.GET)
_CLAIM = _Statement.of(
    attempts.CLAIM.where(
        tables.states.c.id == tables.runs.c.output_state_id, tables.threads.c.id == tables.runs.c.thread_id
    ).returning(*states.COLUMNS, *attempts.CONTEXT)
)
_WINDOW = _Statement.of(states.WINDOW["postgresql"])
_MESSAGES = _Statement.of(messages.OF_STATE)
_DATA = _Statement.of(states.DATA)
_SAVED = _Statement.of(saved_values.OF_RUN)
_ACCEPT = _Statement(postgresql_statements.ACCEPT)
_FINISH = _Statement(postgresql_statements.FINISH)
_FINISH_TURN = _Statement(postgresql_statements.FINISH_TURN)
_UNCLAIM = _Statement(postgresql_statements.UNCLAIM)
_CAPACITY = _Statement.of(backlog.CAPACITY)
