"""The statements that SQLAlchemy does not write: a whole step of a run each, with psycopg's parameters."""

from __future__ import annotations

from functools import cache

ACCEPT = b"""
WITH queue AS (
    SELECT CASE WHEN %(per_user)s::int > 0 THEN (
               SELECT count(*) FROM runs WHERE status = 'queued' AND user_id = %(user)s::uuid
           ) END AS of_user,
           CASE WHEN %(per_pool)s::int > 0 THEN (
               SELECT count(*) FROM runs WHERE status = 'queued' AND pool = %(pool)s
           ) END AS of_pool,
           (SELECT count(*) FROM runs
            WHERE status = 'queued' AND published_at IS NOT NULL AND pool = %(pool)s
              AND call_id IS NULL) AS published,
           EXISTS (SELECT FROM runs
                   WHERE status = 'queued' AND published_at IS NULL AND pool = %(pool)s
                     AND call_id IS NULL
                     AND (not_before IS NULL OR not_before <= clock_timestamp())) AS waiting,
           (SELECT coalesce(sum(slots), 0) FROM pools
            WHERE name = %(pool)s AND queue_refusal IS NULL
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
    RETURNING states.depth, states.children, states.data_of, clock_timestamp() AS moment,
              room.publish, room.free
), touched AS (
    UPDATE threads SET latest_state_id = %(latest)s::uuid, updated_at = moment
    FROM parent WHERE threads.id = %(thread)s::uuid
), outputs AS (
    SELECT (pair->>0)::uuid AS state, (pair->>1)::uuid AS run, number
    FROM json_array_elements(%(outputs)s::json) WITH ORDINALITY AS element (pair, number)
), new_states AS (
    INSERT INTO states (id, thread_id, parent_id, depth, ordinal, children, run_id, starred, created_at,
                        data_of)
    SELECT %(input)s::uuid, %(thread)s::uuid, %(parent)s::uuid,
           depth + 1, children - 1, %(count)s::int, NULL, false, moment, data_of
    FROM parent
    UNION ALL
    SELECT state, %(thread)s::uuid, %(input)s::uuid, depth + 2, number - 1, 0, run, false, moment, data_of
    FROM parent, outputs
), new_messages AS (
    INSERT INTO messages (id, state_id, position, attempt, void, role, type, channel, author,
                          content, folded, data, status, created_at)
    SELECT id, %(input)s::uuid, number - 1, 0, false, role, type, channel, author,
           content, folded, data, status, moment
    FROM parent, ROWS FROM (
        json_to_recordset(%(messages)s::json) AS (id uuid, role text, type text, channel text,
                                                  author text, content text, data jsonb, status text),
        json_array_elements_text(%(folded)s::json)
    ) WITH ORDINALITY AS message (id, role, type, channel, author, content, data, status, folded, number)
), new_runs AS (
    INSERT INTO runs (id, thread_id, workspace_id, user_id, parent_run_id, input_state_id,
                      output_state_id, worker_id, worker_digest, pool, config, args, status,
                      attempt, failures, reaps, max_attempts, timeout_seconds, priority,
                      published_at, answers, created_at, "window", session_id, turn,
                      awaited_by, message)
    SELECT run, %(thread)s::uuid, %(workspace)s::uuid, %(user)s::uuid, %(parent_run)s::uuid,
           %(input)s::uuid, state, %(worker)s, %(digest)s, %(pool)s, %(config)s::jsonb,
           %(args)s::jsonb, 'queued', 0, 0, 0, %(max_attempts)s::int, %(timeout)s::float8,
           %(priority)s::int, CASE WHEN publish THEN moment END, '[]', moment,
           %(window)s::jsonb, %(session)s::uuid, %(turn)s::int, %(awaited_by)s,
           %(message)s::jsonb
    FROM parent, outputs
)
SELECT depth, children, moment, publish, free AND NOT publish FROM parent
"""
"""No row: the parent is not there or under way, the thread is gone, or a limit would be exceeded."""


@cache
def accept_with(guard: bytes, changes: bytes) -> bytes:
    """ACCEPT with an optimistic change; no row: the same, or ``guard`` has found none."""
    locked = b"deleted_at IS NULL AND EXISTS (SELECT FROM guard) FOR NO KEY UPDATE"
    guarded = ACCEPT.replace(b"deleted_at IS NULL FOR NO KEY UPDATE", locked)
    begun = guarded.replace(b"WITH queue AS (", b"WITH guard AS (" + guard + b"), queue AS (")
    return begun.replace(b"\nSELECT depth,", b", " + changes + b"\nSELECT depth,")


@cache
def apply(guard: bytes, changes: bytes) -> bytes:
    """An optimistic change alone; no row: ``guard`` has found none."""
    parent = b"parent AS (SELECT clock_timestamp() AS moment FROM guard)"
    return b"WITH guard AS (" + guard + b"), " + parent + b", " + changes + b"\nSELECT moment FROM parent"


UNCLAIM = b"""
UPDATE runs
SET status = 'queued', attempt = attempt - 1, lease_until = NULL, claimed_by = NULL,
    started_at = CASE WHEN attempt > 1 THEN started_at END
WHERE id = %(run)s::uuid AND status = 'running' AND claimed_by = %(claimant)s
"""

FINISH = b"""
WITH ended AS (
    UPDATE runs
    SET status = %(status)s, error = %(error)s::jsonb, usage = coalesce(%(usage)s::jsonb, usage),
        first_delta_at = coalesce(
            first_delta_at, clock_timestamp() - make_interval(secs => %(first_delta)s::float8)),
        finished_at = clock_timestamp(), lease_until = NULL, claimed_by = NULL, finish_reason = %(finish)s
    WHERE id = %(run)s::uuid AND attempt = %(attempt)s::int AND status = 'running' AND NOT steered
      AND calls = 0
    RETURNING finished_at, cancel_requested_at
), saved AS (
    INSERT INTO messages (id, state_id, position, attempt, void, role, type, channel, author,
                          content, folded, data, status, run_id, created_at)
    SELECT id, state_id, position, attempt, false, role, type, channel, author,
           content, folded, data, status, run_id, coalesce(created_at, finished_at)
    FROM ended, ROWS FROM (
        json_to_recordset(%(messages)s::json) AS (
            id uuid, state_id uuid, position int, attempt int, role text, type text, channel text,
            author text, content text, data jsonb, status text, run_id uuid, created_at timestamptz),
        json_array_elements_text(%(folded)s::json)
    ) AS message (id, state_id, position, attempt, role, type, channel,
                  author, content, data, status, run_id, created_at, folded)
    ON CONFLICT (id) DO UPDATE
    SET content = excluded.content, folded = excluded.folded, data = excluded.data, status = excluded.status
)
SELECT finished_at, cancel_requested_at FROM ended
"""
"""No row: the attempt is stale, or the run was sent messages or has made calls: more is to be done."""

FINISH_TURN = FINISH.replace(
    b"\nSELECT finished_at,",
    b""", noted AS (
    INSERT INTO outbox (kind, key, payload, due_at, tries, created_at)
    SELECT %(kind)s, %(key)s, %(payload)s::jsonb,
           clock_timestamp() + make_interval(secs => %(delay)s::float8), 0, clock_timestamp()
    FROM ended
    ON CONFLICT DO NOTHING
)
SELECT finished_at,""",
)
"""The same, and the task that tells its session; see :func:`runtime.store.turns.note`."""
