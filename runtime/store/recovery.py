"""Recovery: what the reaper finds lost, and what becomes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from runtime.model import Message, MessageStatus, Run, RunError, RunStatus
from runtime.store import below, follow_ups, messages
from runtime.store.attempts import AttemptResult, keep
from runtime.store.fence import guarded
from runtime.store.runs import COLUMNS, record
from runtime.store.tables import IS_RUNNING, now, pools, runs


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a run whose attempt was lost."""

    run: Run
    """As it is now."""
    retried: bool
    void: list[str]
    """Where it is tried again: ids of the messages that count no more."""
    messages: list[Message]
    """Where it is not: the text that the lost attempt had, as it is kept."""


def expired(c: Connection, limit: int = 100) -> list[Run]:
    """Running runs whose lease has run out, longest ago first."""
    return [record(row) for row in c.execute(_EXPIRED, {"limit": limit})]


def take_over(
    c: Connection,
    lost: Run,
    rescued: Sequence[Message],
    backoff: float,
    story: str,
    *,
    continued: bool = False,
) -> Verdict | None:
    """Decide about a run whose lease ran out: cancelled, failed too often, or once more.

    ``rescued`` is the open text that the event log still had. ``continued``: the next attempt goes
    on with it, so it is not void. None where the
    run's attempt has ended or been renewed meanwhile, or its user has cancelled it.
    """
    again = not lost.cancel_requested_at and lost.failures + 1 < lost.max_attempts
    if again:
        values: dict[str, Any] = {
            "status": RunStatus.QUEUED,
            "published_at": None,
            "not_before": now(backoff),
            "last_failure": RunError("lost", story).encode(),
        }
    elif lost.cancel_requested_at:
        values = {"status": RunStatus.CANCELLED, "attempt": runs.c.attempt + 1, "finished_at": now()}
    else:
        error = RunError("lost", f"{story} It was tried {lost.failures + 1} times.")
        values = {
            "status": RunStatus.ERROR,
            "attempt": runs.c.attempt + 1,
            "finished_at": now(),
            "error": error.encode(),
        }
    row = c.execute(
        guarded(runs.update(), lost)
        # Whoever has wished for its end since we looked is obeyed when we look again.
        .where(
            runs.c.lease_until < now(),
            runs.c.cancel_requested_at.is_not(None) == bool(lost.cancel_requested_at),
        )
        .values(
            failures=runs.c.failures + 1,
            reaps=runs.c.reaps + 1,
            lease_until=None,
            claimed_by=None,
            **values,
        )
        .returning(*COLUMNS)
    ).one_or_none()
    if row is None:
        return None
    if not again:
        below.cancel(c, [lost.id])
    # While Redis was away, what was saved with the leases grew beyond what the log has.
    saved = {m.id: len(m.content) for m in messages.of_state(c, lost.output_state_id)}
    messages.save(c, [m for m in rescued if len(m.content) > saved.get(m.id, -1)])
    void = messages.void(c, lost) if again and not continued else []
    keep(c, lost, AttemptResult(log=f"[branchline] {story}\n"))
    kept = [m for m in messages.of_state(c, lost.output_state_id) if m.status is MessageStatus.PARTIAL]
    after = record(row)
    if not again:
        follow_ups.note(c, after)
    return Verdict(after, again, void, kept)


def release(c: Connection, incarnation: str) -> int:
    """The pool process is dead: its leases end now. Returns how many."""
    result = c.execute(
        runs.update().where(runs.c.claimed_by == incarnation, IS_RUNNING).values(lease_until=now(-1))
    )
    c.execute(pools.delete().where(pools.c.incarnation == incarnation))
    return result.rowcount


def unannounced(c: Connection, grace: float, limit: int = 100) -> list[Run]:
    """Runs that ended ``grace`` seconds ago or earlier and were not announced."""
    return [record(row) for row in c.execute(_UNANNOUNCED, {"grace": -grace, "limit": limit})]


def mark_announced(c: Connection, run_ids: Sequence[str]) -> None:
    """Their ``run.completed`` is in the log."""
    c.execute(runs.update().where(runs.c.id.in_(run_ids)).values(announced_at=now()))


# What each round of a reaper asks is made once.
_LIMIT = sa.bindparam("limit", type_=sa.Integer)
_EXPIRED = (
    sa.select(*COLUMNS)
    .where(IS_RUNNING, runs.c.lease_until < now())
    .order_by(runs.c.lease_until)
    .limit(_LIMIT)
)
_UNANNOUNCED = (
    sa.select(*COLUMNS)
    .where(runs.c.announced_at.is_(None), runs.c.finished_at < now(sa.bindparam("grace", type_=sa.Float)))
    .order_by(runs.c.finished_at)
    .limit(_LIMIT)
)
