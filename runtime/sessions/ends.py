"""The end of a turn: what its session keeps of it, and whether it goes on.

What is decided here follows from what was read; nothing is read or written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from runtime.model import Json, Run, RunStatus
from runtime.sessions import budget, progress
from runtime.sessions.model import Reason, Session, Wish
from runtime.sessions.store import Result

Why = Mapping[str, Json]
"""Why a session has stopped, ``{code, message}``."""


def reason(code: Reason, message: str) -> Why:
    """As it is stored and shown."""
    return {"code": code, "message": message}


TURN_ENDED = reason(Reason.TURN_ENDED, "The turn has ended.")
_WISHED = {
    Wish.PAUSE: reason(Reason.PAUSED, "It was paused."),
    Wish.STEP: reason(Reason.STEPPED, "It was to take one step."),
    Wish.STOP: reason(Reason.STOPPED, "Its turn was stopped."),
}


def seconds(session: Session, until: datetime | None) -> float:
    """For how long it has been running."""
    since = session.running_since
    return max(0.0, (until - since).total_seconds()) if since and until else 0.0


def kept(session: Session) -> dict[str, Any]:
    """What a session keeps of a turn that has ended."""
    names = ("used", "progress", "tip_state_id", "tip_is_set")
    return {name: getattr(session, name) for name in names}


def after_turn(
    session: Session, run: Run, result: Result, prices: budget.Prices, *, unread: bool
) -> tuple[Session, Why | None]:
    """The session with what the turn has used, said and left, not stored yet; and why it stops.

    ``unread``: whether messages were sent that the worker has not read. None: it goes on with these,
    or by itself, unless :func:`why_not_auto` says something else.
    """
    used = budget.after_turn(
        budget.after_seconds(session.used, seconds(session, run.finished_at)),
        [(run.config, run.usage), *result.below],
        prices,
        says_all=run.status is RunStatus.SUCCESS,
    )
    remembered, no_progress = progress.after_turn(session.progress, result.said)
    tip = session.tip_state_id if session.tip_is_set else run.output_state_id
    after = replace(session, used=used, progress=remembered, tip_state_id=tip, tip_is_set=False)
    if run.status is RunStatus.CANCELLED:
        return after, _WISHED[Wish.STOP]
    if run.status is not RunStatus.SUCCESS:
        why = run.error.message if run.error else f"The run ended: {run.status}."
        return after, reason(Reason.ERROR, why)
    if session.wish is not None:
        return after, _WISHED[session.wish]
    spent = budget.exceeded(session.limits, used, turns=False)
    if spent is not None:
        return after, reason(*spent)
    if unread:
        return after, None
    if run.finish_reason is not None:
        return after, reason(Reason.FINISHED, run.finish_reason or "The goal is reached.")
    if session.auto.get("enabled") and no_progress:
        return after, reason(Reason.NO_PROGRESS, no_progress)
    return after, None


def why_not_auto(session: Session) -> Why | None:
    """Why it does not go on by itself; None: it does."""
    if not session.auto.get("enabled"):
        return TURN_ENDED
    spent = budget.exceeded(session.limits, session.used, turns=True)
    if spent is not None:
        return reason(*spent)
    unknown = budget.unknown(session.limits, session.used)
    return reason(Reason.UNKNOWN_FIGURE, unknown) if unknown else None
