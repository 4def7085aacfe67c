"""Why a run is still queued, as clients are told: a record of numbers, and a sentence."""

from __future__ import annotations

from runtime.model import Json, QueueReason, encode_time
from runtime.store.backlog import Wait


def encode_wait(wait: Wait | None) -> dict[str, Json] | None:
    """The field ``queue`` of a run; None for a run that is not queued."""
    if wait is None:
        return None
    return {
        "position": wait.position,
        "pool": wait.pool,
        "pool_seen": wait.slots > 0,
        "slots": wait.slots,
        "busy": wait.busy,
        "reason": wait.reason,
        "message": _sentence(wait),
        "not_before": encode_time(wait.not_before),
        "retry_after": wait.retry_after,
    }


def _sentence(wait: Wait) -> str:
    match wait.reason:
        case QueueReason.BACKOFF:
            return f"It is tried again after {encode_time(wait.not_before)}."
        case QueueReason.POOL_NOT_SEEN:
            return f"No pool named {wait.pool!r} is running. The run starts when one does."
        case QueueReason.WORKER_NOT_SEEN:
            return (
                f"No process of the pool {wait.pool!r} has the worker {wait.worker_id!r}. "
                "The run starts when one does; cancel it if the worker was removed."
            )
        case QueueReason.QUEUE_REFUSED:
            return (
                f"The broker refuses the queue of the pool {wait.pool!r}. "
                "The run starts when an operator has mended that; `branchline doctor` says how."
            )
        case QueueReason.USER_LIMIT:
            return f"{wait.of_user} runs of its user are under way, and no more may be."
        case QueueReason.WORKER_LIMIT:
            return (
                f"{wait.of_worker} runs of the worker {wait.worker_id!r} are under way, and no more may be."
            )
        case QueueReason.AHEAD:
            before = f", and {wait.position - 1} runs are before it." if wait.position > 1 else "."
            return f"{wait.busy} of {wait.slots} slots of the pool {wait.pool!r} are busy{before}"
        case QueueReason.STARTING:
            return "It is about to start."
