"""The quick ways on PostgreSQL: what the run's way asks for most, in few statements.

A statement that is a round trip of its own costs its process as much as the server,
and a transaction adds two. So a run is accepted and ended by one statement each, in
autocommit, and claimed by two, on psycopg's own cursor: SQLAlchemy has compiled what
it has to once, when this module was imported.

Nothing is decided here that the function with the same name does not decide the same
way. Where a statement finds that it cannot do all of its work it does nothing, and
that function finds out why, or does it another way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import orjson
import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from runtime.errors import NotFound, StaleAttempt
from runtime.model import Json, Run, RunError, RunStatus, State, Thread, new_id
from runtime.store import attempts, backlog, messages, runs, states, tables, threads
from runtime.store.database import UNUSUAL, quick_way_of

Connection = psycopg.Connection[tuple[Any, ...]]

_MOST_TEXT = 256 * 1024
"""Characters in one statement's messages; JSON is no good way for more."""


class Compiled:
    """A statement of SQLAlchemy as psycopg takes it."""

    def __init__(self, statement: sa.ClauseElement) -> None:
        compiled = statement.compile(dialect=_DIALECT)
        self._sql = str(compiled).encode()
        self._given = compiled.params

    def rows(self, c: Connection, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Execute it; all rows."""
        return c.execute(self._sql, {**self._given, **parameters}).fetchall()

    def row(self, c: Connection, parameters: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """Execute it; the only row, or None."""
        return c.execute(self._sql, {**self._given, **parameters}).fetchone()


def _json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()


_DIALECT: sa.Dialect = PGDialect_psycopg()  # type: ignore[no-untyped-call]
_THREAD = Compiled(threads.GET_LIVE)
_RUN = Compiled(runs.GET)
_CLAIM = Compiled(
    attempts.CLAIM.where(tables.states.c.id == tables.runs.c.output_state_id).returning(*states.COLUMNS)
)
_WINDOW = Compiled(states.WINDOW["postgresql"])
_MESSAGES = Compiled(messages.OF_STATE)
_ROOM = Compiled(backlog.ROOM)


@quick_way_of(threads.get)
def get_thread(c: Connection, workspace_id: str, thread_id: str, *, deleted: bool = False) -> Thread:
    """The thread."""
    if deleted:
        return UNUSUAL  # type: ignore[no-any-return]
    return threads.found(_THREAD.row(c, {"workspace": workspace_id, "thread": thread_id}))


@quick_way_of(runs.get)
def get_run(c: Connection, workspace_id: str, run_id: str) -> Run:
    """The run."""
    row = _RUN.row(c, {"this_run": run_id, "workspace": workspace_id})
    if row is None:
        raise NotFound("There is no such run.")
    return runs.record(row)


@quick_way_of(runs.accept)
def accept(
    c: Connection,
    thread: Thread,
    user_id: str,
    input_state_id: str,
    new_messages: Sequence[states.NewMessage],
    spec: runs.RunSpec,
    limits: runs.QueueLimits,
) -> runs.Created:
    """Queue runs that begin with a message; what has none needs the input state as well."""
    if not new_messages or sum(len(message.content) for message in new_messages) > _MOST_TEXT:
        return UNUSUAL  # type: ignore[no-any-return]
    ids = sorted(new_id() for _ in range(1 + spec.count))
    run_ids = [new_id() for _ in range(spec.count)]
    given = [replace(message, id=message.id or new_id()) for message in new_messages]
    row = c.execute(
        _ACCEPT,
        {
            "thread": thread.id,
            "workspace": thread.workspace_id,
            "user": user_id,
            "parent": input_state_id,
            "said": ids[0],
            "latest": ids[-1],
            "messages": _json(given),
            "outputs": _json(list(zip(ids[1:], run_ids, strict=True))),
            "parent_run": spec.parent_run_id,
            "worker": spec.worker_id,
            "digest": spec.worker_digest,
            "pool": spec.pool,
            "config": _json(spec.config),
            "args": None if spec.args is None else _json(spec.args),
            "max_attempts": spec.max_attempts,
            "timeout": spec.timeout_seconds,
            "priority": spec.priority,
            "count": spec.count,
            "per_user": limits.per_user,
            "per_pool": limits.per_pool,
            "lease": limits.lease,
            "limited": limits.limited,
        },
    ).fetchone()
    if row is None:
        return UNUSUAL  # type: ignore[no-any-return]
    depth, children, moment, published, room = row
    place = states.Place(thread.id, input_state_id, depth + 1, children - 1, moment)
    said, outputs = states.turn(place, ids, given, run_ids)
    made = runs.queued(thread, user_id, said.id, outputs, spec, published=published)
    return runs.Created(made, outputs, said, True, published, room)


@quick_way_of(attempts.claim)
def claim(
    c: Connection,
    run_id: str,
    incarnation: str,
    lease: float,
    history: Mapping[str, int],
    *,
    isolated: bool = False,
    only_published: bool = False,
) -> attempts.Claim | None:
    """Begin the next attempt. Where its worker cannot be given what it needs, it was not claimed."""
    how = {"isolated": isolated, "only_published": only_published}
    row = _CLAIM.row(c, {"this_run": run_id, "claimant": incarnation, "lease": lease, **how})
    if row is None:
        return None
    try:
        run, output = runs.record(row[: len(runs.COLUMNS)]), State(*row[len(runs.COLUMNS) :])
        wanted = states.newest(run.input_state_id, history.get(run.worker_id, history[""]))
        window = [messages.record(row) for row in reversed(_WINDOW.rows(c, wanted))]
        earlier = _MESSAGES.rows(c, {"state": run.output_state_id}) if run.answers else []
        return attempts.Claim(run, output, window, [messages.record(row) for row in earlier])
    except Exception:
        # Nothing was begun, so the number is free again. Should the database have gone, the lease ends.
        with suppress(psycopg.Error):
            c.execute(_UNCLAIM, {"run": run_id, "claimant": incarnation})
        raise


@quick_way_of(attempts.finish)
def finish(
    c: Connection,
    run: Run,
    status: RunStatus,
    remains: attempts.AttemptResult,
    *,
    error: RunError | None = None,
    usage: Mapping[str, Json] | None = None,
) -> Run:
    """End an attempt that leaves nothing but messages."""
    too_much = sum(len(message.content) for message in remains.messages) > _MOST_TEXT
    if remains.steps or remains.log or too_much:
        return UNUSUAL  # type: ignore[no-any-return]
    row = c.execute(
        _FINISH,
        {
            "run": run.id,
            "attempt": run.attempt,
            "status": str(status),
            "error": _json(error.encode()) if error else None,
            "usage": None if usage is None else _json(usage),
            "messages": _json(list(remains.messages)),
        },
    ).fetchone()
    if row is None:
        raise StaleAttempt
    finished_at, cancel_requested_at = row
    return attempts.ended(run, status, error, usage, finished_at, cancel_requested_at)


@quick_way_of(backlog.claim_for_publish)
def claim_for_publish(c: Connection, pool: str, lease: float, per_user: int = 0) -> list[backlog.Ticket]:
    """Mostly there is nothing to publish, and one look says so."""
    if backlog.room(_ROOM.rows(c, {"pool": pool, "lease": -lease})).free:
        return UNUSUAL  # type: ignore[no-any-return]
    return []


_ACCEPT = b"""
WITH queue AS (
    SELECT CASE WHEN %(per_user)s::int > 0 THEN (
               SELECT count(*) FROM runs WHERE status = 'queued' AND user_id = %(user)s::uuid
           ) END AS of_user,
           CASE WHEN %(per_pool)s::int > 0 THEN (
               SELECT count(*) FROM runs WHERE status = 'queued' AND pool = %(pool)s
           ) END AS of_pool,
           (SELECT count(*) FROM runs
            WHERE status = 'queued' AND published_at IS NOT NULL AND pool = %(pool)s) AS published,
           EXISTS (SELECT FROM runs
                   WHERE status = 'queued' AND published_at IS NULL AND pool = %(pool)s
                     AND (not_before IS NULL OR not_before <= clock_timestamp())) AS waiting,
           (SELECT coalesce(sum(slots), 0) FROM pools
            WHERE name = %(pool)s
              AND seen_at > clock_timestamp() - make_interval(secs => %(lease)s)) AS slots
), room AS (
    SELECT NOT waiting AND NOT %(limited)s::bool AND published + %(count)s::int <= slots AS publish,
           published < slots AND (%(limited)s::bool OR NOT waiting) AS free
    FROM queue
    WHERE (%(per_user)s::int = 0 OR of_user + %(count)s::int <= %(per_user)s::int)
      AND (%(per_pool)s::int = 0 OR of_pool + %(count)s::int <= %(per_pool)s::int)
), parent AS (
    UPDATE states SET children = states.children + 1
    FROM room
    WHERE states.id = %(parent)s::uuid AND states.thread_id = %(thread)s::uuid
      AND EXISTS (SELECT FROM threads
                  WHERE id = %(thread)s::uuid AND deleted_at IS NULL FOR NO KEY UPDATE)
      AND NOT EXISTS (SELECT FROM runs WHERE runs.id = states.run_id AND runs.finished_at IS NULL)
    RETURNING states.depth, states.children, clock_timestamp() AS moment, room.publish, room.free
), touched AS (
    UPDATE threads SET latest_state_id = %(latest)s::uuid, updated_at = moment
    FROM parent WHERE threads.id = %(thread)s::uuid
), outputs AS (
    SELECT (pair->>0)::uuid AS state, (pair->>1)::uuid AS run, place
    FROM json_array_elements(%(outputs)s::json) WITH ORDINALITY AS element (pair, place)
), grown AS (
    INSERT INTO states (id, thread_id, parent_id, depth, ordinal, children, run_id, starred, created_at)
    SELECT %(said)s::uuid, %(thread)s::uuid, %(parent)s::uuid,
           depth + 1, children - 1, %(count)s::int, NULL, false, moment
    FROM parent
    UNION ALL
    SELECT state, %(thread)s::uuid, %(said)s::uuid, depth + 2, place - 1, 0, run, false, moment
    FROM parent, outputs
), said AS (
    INSERT INTO messages (id, state_id, position, attempt, void, role, type, channel, author,
                          content, data, status, created_at)
    SELECT id, %(said)s::uuid, place - 1, 0, false, role, type, channel, author,
           content, data, status, moment
    FROM parent, ROWS FROM (
        json_to_recordset(%(messages)s::json) AS (id uuid, role text, type text, channel text,
                                                  author text, content text, data jsonb, status text)
    ) WITH ORDINALITY AS message (id, role, type, channel, author, content, data, status, place)
), made AS (
    INSERT INTO runs (id, thread_id, workspace_id, user_id, parent_run_id, input_state_id,
                      output_state_id, worker_id, worker_digest, pool, config, args, status,
                      attempt, failures, reaps, max_attempts, timeout_seconds, priority,
                      published_at, answers, created_at)
    SELECT run, %(thread)s::uuid, %(workspace)s::uuid, %(user)s::uuid, %(parent_run)s::uuid,
           %(said)s::uuid, state, %(worker)s, %(digest)s, %(pool)s, %(config)s::jsonb,
           %(args)s::jsonb, 'queued', 0, 0, 0, %(max_attempts)s::int, %(timeout)s::float8,
           %(priority)s::int, CASE WHEN publish THEN moment END, '[]', moment
    FROM parent, outputs
)
SELECT depth, children, moment, publish, free AND NOT publish FROM parent
"""
"""No row: the parent is not there or under way, the thread is gone, or a bound would be exceeded."""

_UNCLAIM = b"""
UPDATE runs
SET status = 'queued', attempt = attempt - 1, lease_until = NULL, claimed_by = NULL,
    started_at = CASE WHEN attempt > 1 THEN started_at END
WHERE id = %(run)s::uuid AND status = 'running' AND claimed_by = %(claimant)s
"""

_FINISH = b"""
WITH ended AS (
    UPDATE runs
    SET status = %(status)s, error = %(error)s::jsonb, usage = %(usage)s::jsonb,
        finished_at = clock_timestamp(), lease_until = NULL, claimed_by = NULL
    WHERE id = %(run)s::uuid AND attempt = %(attempt)s::int AND status = 'running'
    RETURNING finished_at, cancel_requested_at
), saved AS (
    INSERT INTO messages (id, state_id, position, attempt, void, role, type, channel, author,
                          content, data, status, run_id, created_at)
    SELECT id, state_id, position, attempt, false, role, type, channel, author,
           content, data, status, run_id, coalesce(created_at, finished_at)
    FROM ended, json_to_recordset(%(messages)s::json) AS message (
        id uuid, state_id uuid, position int, attempt int, role text, type text, channel text,
        author text, content text, data jsonb, status text, run_id uuid, created_at timestamptz)
    ON CONFLICT (id) DO UPDATE
    SET content = excluded.content, data = excluded.data, status = excluded.status
)
SELECT finished_at, cancel_requested_at FROM ended
"""
