"""A million messages in a PostgreSQL database, made by the database itself in seconds.

Ten thousand threads of fifty turns, a hundred of them the user's own; one thread
that is 10,000 states deep, and one with 10,000 branches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg

from bench.branchline import InputState

THREADS, TURNS, MINE = 10_000, 50, 100
LONG = 10_000

_ID = """
CREATE FUNCTION pg_temp.id(kind int, thread bigint, n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT (lpad(to_hex(1600000000000 + thread * 100000 + n), 12, '0') || '70008' ||
        lpad(to_hex(kind), 3, '0') || lpad(to_hex(thread * 100000 + n), 12, '0'))::uuid $$
"""
"""Ids as the product makes them: in the order of time. A run has the number of the state that it fills."""
_SHAPE = """
CREATE TEMP TABLE shape AS
    SELECT t AS thread, n, CASE WHEN n > 0 THEN n - 1 END AS parent, n AS depth, 0 AS ordinal
        FROM generate_series(1, %(threads)s) t, generate_series(0, %(turns)s * 2) n
    UNION ALL SELECT %(threads)s + 1, n, CASE WHEN n > 0 THEN n - 1 END, n, 0
        FROM generate_series(0, %(long)s) n
    UNION ALL SELECT %(threads)s + 2, n, CASE WHEN n > 1 THEN 1 WHEN n = 1 THEN 0 END, least(n, 2),
        greatest(n - 2, 0) FROM generate_series(0, %(long)s + 1) n
"""
_THREADS = """
INSERT INTO threads (id, user_id, workspace_id, title, config, metadata, status, root_state_id,
        latest_state_id, created_at, updated_at)
    SELECT pg_temp.id(1, t, 0), u.id, u.workspace_id, 'Thread ' || t, '{}', '{}', 'active',
        pg_temp.id(2, t, 0), pg_temp.id(2, t, %(turns)s * 2), now(), now()
    FROM generate_series(1, %(threads)s + 2) t JOIN users u
    ON u.id = CASE WHEN t %% (%(threads)s / %(mine)s) = 1 OR t > %(threads)s THEN %(me)s::uuid
        ELSE %(other)s::uuid END
"""
_STATES = """
INSERT INTO states (id, thread_id, parent_id, depth, ordinal, children, run_id, starred, created_at)
    SELECT pg_temp.id(2, s.thread, s.n), pg_temp.id(1, s.thread, 0),
        CASE WHEN s.parent IS NOT NULL THEN pg_temp.id(2, s.thread, s.parent) END, s.depth, s.ordinal,
        CASE WHEN s.thread = %(threads)s + 2 AND s.n = 1 THEN %(long)s ELSE 1 END,
        CASE WHEN s.n > 0 AND s.n %% 2 = 0 THEN pg_temp.id(3, s.thread, s.n) END, false, now()
    FROM shape s
"""
_MESSAGES = """
INSERT INTO messages (id, state_id, position, attempt, void, role, type, channel, content, data, status,
        run_id, created_at)
    SELECT pg_temp.id(4, s.thread, s.n), pg_temp.id(2, s.thread, s.n), 0, (s.n + 1) %% 2, false,
        CASE WHEN s.n %% 2 = 0 THEN 'assistant' ELSE 'user' END, 'text', 'answer',
        repeat(md5(s.thread || ' ' || s.n), 6), '{}', 'complete',
        CASE WHEN s.n %% 2 = 0 THEN pg_temp.id(3, s.thread, s.n) END, now()
    FROM shape s WHERE s.n > 0
"""
_RUNS = """
INSERT INTO runs (id, thread_id, workspace_id, user_id, input_state_id, output_state_id, worker_id,
        worker_digest, pool, config, args, status, attempt, failures, reaps, max_attempts, timeout_seconds,
        priority, answers, published_at, announced_at, created_at, started_at, finished_at)
    SELECT pg_temp.id(3, s.thread, s.n), t.id, t.workspace_id, t.user_id, pg_temp.id(2, s.thread, s.parent),
        pg_temp.id(2, s.thread, s.n), 'stamp', md5('stamp'), 'python', '{}', '{}', 'success', 1, 0, 0, 3, 600,
        0, '[]', now(), now(), now(), now(), now()
    FROM shape s JOIN threads t ON t.id = pg_temp.id(1, s.thread, 0) WHERE s.n > 0 AND s.n %% 2 = 0
"""


@dataclass(frozen=True, slots=True)
class Filled:
    """Where runs may go on."""

    newest: list[tuple[str, str]]
    """Threads of the user, each with its newest state."""
    deep: InputState
    wide: InputState
    run: str
    """A run that ended long ago."""


def fill(connection: psycopg.Connection[Any], user_id: str) -> Filled:
    """Make them; ``user_id`` owns a few of them. The connection commits by itself."""
    [other] = connection.execute("SELECT id FROM users WHERE id <> %s", [user_id]).fetchone() or [user_id]
    numbers = {"threads": THREADS, "turns": TURNS, "mine": MINE, "long": LONG, "me": user_id, "other": other}
    # What refers to what is right by construction: looking it up a million times is not needed.
    connection.execute("SET session_replication_role = replica")
    connection.execute(_ID)
    with psycopg.ClientCursor(connection) as cursor:
        kept = _drop_indexes(connection)
        for statement in (_SHAPE, _THREADS, _STATES, _MESSAGES, _RUNS, *kept, "VACUUM ANALYZE"):
            cursor.execute(statement, numbers)
    return Filled(
        [(_id(connection, 1, t), _id(connection, 2, t, TURNS * 2)) for t in _mine()],
        InputState(_id(connection, 1, THREADS + 1), _id(connection, 2, THREADS + 1, LONG)),
        InputState(_id(connection, 1, THREADS + 2), _id(connection, 2, THREADS + 2, LONG // 2)),
        _id(connection, 3, 1, 2),
    )


def _drop_indexes(connection: psycopg.Connection[Any]) -> list[str]:
    """Drop what only speeds reading up; returns the statements that make it again, which is quicker so."""
    query = """
        SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
        WHERE indrelid IN ('states'::regclass, 'messages'::regclass, 'runs'::regclass) AND NOT indisprimary
    """
    found = connection.execute(query).fetchall()
    for name, _ in found:
        connection.execute(f"DROP INDEX {name}")
    return [definition for _, definition in found]


def _mine() -> list[int]:
    return list(range(1, THREADS, THREADS // MINE))[:20]


def _id(connection: psycopg.Connection[Any], kind: int, thread: int, n: int = 0) -> str:
    row = connection.execute("SELECT pg_temp.id(%s, %s, %s)::text", [kind, thread, n]).fetchone()
    assert row is not None
    return str(row[0])
