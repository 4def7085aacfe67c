"""Continuation: an attempt goes on with the text of the one before (``resume = "continue"``).

What the event log has is taken over with the fence, so that nothing can be added to it any
more, and stored; then the worker is given it. Where the log has lost it, what was saved with
the lease counts, and readers begin anew with that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runtime.errors import LogLost, StreamUnavailable
from runtime.model import Channel, Message, MessageStatus, MessageType, Role
from runtime.services import Services
from runtime.store import attempts
from runtime.store.attempts import Claim
from runtime.stream import OpenMessage


@dataclass(frozen=True, slots=True)
class Continuation:
    """What an attempt goes on with."""

    open: Sequence[tuple[Message, int]]
    """The messages that were being written, in order, and how many deltas each has."""
    void: Sequence[str]
    """Ids of what is open in the log and does not count: a question that was never asked."""
    in_log: bool
    """Whether the event log has all of this."""


def continuation(claim: Claim, services: Services) -> Continuation | None:
    """What a claimed attempt goes on with; None where there is nothing, or it begins anew.

    The worker decides, in its worker.toml. The first attempt begins anew, and so does one after a
    question. Raises StaleAttempt.
    """
    run = claim.run
    answered = run.answers[-1].get("attempt", run.attempt - 1) if run.answers else 0
    if run.attempt == 1 or answered == run.attempt - 1:
        return None
    found = _taken_over(claim, services)
    if not found.open and not found.void and not any(m.attempt > answered for m in claim.earlier):
        return None
    stored = {message.id: message.content for message in claim.open}
    grown = [message for message, _ in found.open if stored.get(message.id) != message.content]
    if grown:
        services.database.write(attempts.save_messages, run, grown)
    return found


def _taken_over(claim: Claim, services: Services) -> Continuation:
    """The longer of what the log and the database have of each message."""
    run = claim.run
    stored = {message.id: (message, 1 if message.content else 0) for message in claim.open}
    try:
        logged = services.log.take_over(run.thread_id, run.id, run.attempt)
    except (LogLost, StreamUnavailable):
        return Continuation(list(stored.values()), (), in_log=False)
    complete = {message.id for message in claim.earlier}
    open_ones = [one for one in logged if one.message_id not in complete]
    void = [one.message_id for one in open_ones if one.message["type"] == MessageType.CONFIRMATION]
    texts = {one.message_id: (_message(one, claim), one.n) for one in open_ones if one.message_id not in void}
    missing = {
        id: of_database
        for id, of_database in stored.items()
        if id not in texts or len(texts[id][0].content) < len(of_database[0].content)
    }
    in_order = sorted((texts | missing).values(), key=lambda one: one[0].position)
    return Continuation(in_order, void, in_log=not missing)


def _message(partial: OpenMessage, claim: Claim) -> Message:
    """An open message of the log, as the database stores it."""
    fields = partial.message
    return Message(
        id=partial.message_id,
        state_id=claim.run.output_state_id,
        position=fields["position"],
        role=Role(fields["role"]),
        content=partial.text,
        type=MessageType(fields["type"]),
        channel=Channel(fields["channel"]),
        author=fields["author"],
        data=fields["data"],
        status=MessageStatus.PARTIAL,
        run_id=claim.run.id,
        attempt=claim.run.attempt,
    )
