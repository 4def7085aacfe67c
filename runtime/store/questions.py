"""Questions: what waiting runs ask, and how that is settled: answered, or withdrawn.

A question of a sub-run is asked by its caller as well, and by that one's, up to the run that a
client has asked for. So that none of them waits for an answer that nobody can give, each waits
only for as long as the one below it does: who cancels a sub-run that waits withdraws the question
above it (:func:`withdraw_above`), in the same transaction, and who is about to ask what is settled
already does not wait at all (:func:`before_asking`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from runtime.model import Json, Run, RunStatus
from runtime.store import messages
from runtime.store.tables import IS_CALL, Id, runs

Outcome = Mapping[str, Json]
"""How a question is settled: ``{"answer": …}``, or :data:`WITHDRAWN`."""
WITHDRAWN: Outcome = {"withdrawn": True}


def settle(c: Connection, run_id: str, asked: Any, outcome: Outcome, *returning: Any) -> sa.Row[Any]:
    """A waiting run, which is locked, has what it waits for: it is queued again.

    ``asked`` has its ``attempt``, ``confirmation`` and ``answers``. The message that asks says how
    it was settled.
    """
    question = asked.confirmation or {}
    messages.add_data(c, question.get("message_id"), outcome)
    reply = {
        "confirmation_id": question.get("id"),
        "attempt": asked.attempt,
        "answer": None,
        **outcome,
    }
    if "digest" in question:
        reply["digest"] = question["digest"]
    values = {
        "status": RunStatus.QUEUED,
        "confirmation": None,
        "published_at": None,
        "answers": [*asked.answers, reply],
    }
    return c.execute(runs.update().where(runs.c.id == run_id).values(values).returning(*returning)).one()


def lock_above(c: Connection, run_id: str) -> list[sa.Row[Any]]:
    """The runs above one, locked from the top down as everybody locks them; none of a run of a client."""
    return list(c.execute(_LOCK_ABOVE, {"below": run_id}))


def withdraw_above(
    c: Connection, above: Sequence[sa.Row[Any]], run_id: str, *returning: Any
) -> list[sa.Row[Any]]:
    """Withdraw the question of a run that has ended from those above it, which go on.

    ``above``: what :func:`lock_above` has returned before the run was locked.
    """
    withdrawn = []
    for caller in reversed(above):
        asks_for = (caller.confirmation or {}).get("run_id")
        if (caller.status, asks_for) != (RunStatus.WAITING, run_id):
            break
        withdrawn.append(settle(c, caller.id, caller, WITHDRAWN, *returning))
        run_id = caller.id
    return withdrawn


def before_asking(
    c: Connection, run: Run, confirmation: Mapping[str, Json]
) -> tuple[Mapping[str, Json], Outcome | None]:
    """What ``run``, which is locked, is about to ask, and how that is settled already.

    A question is of the sub-run that its ``run_id`` names, by the word of a worker; one that names
    no sub-run of the run is its own. The outcome is None for the run's own questions, and where
    the sub-run waits, and will for as long as this transaction lasts.
    """
    called = _called(c, run, confirmation.get("run_id"))
    if called is None:
        return {name: value for name, value in confirmation.items() if name != "run_id"}, None
    own = {**confirmation, "run_id": called.id}
    for message in messages.of_state(c, called.output_state_id):
        if message.id == confirmation.get("digest") and "answer" in message.data:
            return own, {"answer": message.data["answer"]}
        if message.id == confirmation.get("digest") and "withdrawn" in message.data:
            return own, WITHDRAWN
    return own, None if called.status == RunStatus.WAITING else WITHDRAWN


def _called(c: Connection, run: Run, named: Json) -> sa.Row[Any] | None:
    """The sub-run of that id, locked."""
    try:
        called_id = str(UUID(named))
    except (AttributeError, TypeError, ValueError):
        return None
    found: sa.Row[Any] | None = c.execute(_CALLED, {"called": called_id, "caller": run.id}).one_or_none()
    return found


def _above() -> sa.CTE:
    """The ids of all runs above one."""
    walk = (
        sa.select(runs.c.parent_run_id.label("id"))
        .where(runs.c.id == sa.bindparam("below", type_=Id), IS_CALL)
        .cte("above", recursive=True)
    )
    caller = runs.alias("caller")
    return walk.union_all(
        sa.select(caller.c.parent_run_id)
        .join(walk, caller.c.id == walk.c.id)
        .where(caller.c.call_id.is_not(None))
    )


_LOCK_ABOVE: Any = (
    sa.select(runs.c.id, runs.c.status, runs.c.attempt, runs.c.confirmation, runs.c.answers)
    .where(runs.c.id.in_(sa.select(_above().c.id)))
    .order_by(runs.c.call_depth)
    .with_for_update(key_share=True)
)
_CALLED: Any = (
    sa.select(runs.c.id, runs.c.status, runs.c.output_state_id)
    .where(
        runs.c.id == sa.bindparam("called", type_=Id),
        runs.c.parent_run_id == sa.bindparam("caller", type_=Id),
        IS_CALL,
    )
    .with_for_update(key_share=True)
)
