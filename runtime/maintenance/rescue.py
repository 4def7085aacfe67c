"""Rescue: runs whose attempt was lost, because its pool process died or is out of reach.

As River's ``JobRescuer`` does, it queues such a run again, or ends it.
"""

from __future__ import annotations

import logging

from runtime import logs
from runtime.duties import for_each
from runtime.errors import StreamUnavailable
from runtime.model import Channel, Message, MessageStatus, MessageType, Role, Run
from runtime.services import Services
from runtime.store import recovery

log = logging.getLogger(__name__)


def rescue_lost_attempts(services: Services) -> int:
    """Decide about every run whose lease has run out. Returns how many."""
    lost = services.database.read(recovery.expired)
    if lost:
        services.catalogue.refresh()
    for_each(lost, lambda run: _rescue(services, run))
    return len(lost)


def _rescue(services: Services, run: Run) -> None:
    reason = f"Attempt {run.attempt} was lost: its pool process ({run.claimed_by}) stopped answering."
    backoff = services.settings.run.retry_backoff * (2**run.failures - 1)
    text = _open_text(services, run)
    continued = services.catalogue.continues(run.worker_id)
    verdict = services.database.write(recovery.take_over, run, text, backoff, reason, continued=continued)
    if verdict is None:
        return
    with logs.about(**run.about, status=verdict.run.status):
        log.warning("%s The run %s is %s now.", reason, run.id, verdict.run.status)
    if verdict.retried and continued:
        services.announcer.requeued(verdict.run)  # its next attempt takes over what is open in the log
    elif verdict.retried:
        services.announcer.retried(verdict.run, verdict.void)
    else:
        services.announcer.ended(verdict.run, verdict.messages)


def _open_text(services: Services, run: Run) -> list[Message]:
    """The text of the lost attempt that only the event log has; a question that was not asked is none."""
    try:
        found = services.log.open_messages(run.thread_id)
    except StreamUnavailable:
        return []
    return [
        Message(
            id=partial.message_id,
            state_id=run.output_state_id,
            position=partial.message["position"],
            role=Role(partial.message["role"]),
            content=partial.text,
            type=MessageType(partial.message["type"]),
            channel=Channel(partial.message["channel"]),
            author=partial.message["author"],
            data=partial.message["data"],
            status=MessageStatus.PARTIAL,
            run_id=run.id,
            attempt=run.attempt,
        )
        for partial in found
        if partial.run_id == run.id
        and partial.attempt == run.attempt
        and partial.message["type"] != MessageType.CONFIRMATION
    ]
