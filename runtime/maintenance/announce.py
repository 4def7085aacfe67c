"""Announce: ends of runs that are committed, but not in the event log."""

from __future__ import annotations

from runtime.services import Services
from runtime.store import messages, recovery


def announce_ends(services: Services) -> int:
    """Announce ends that are older than ``announce_grace`` and not announced. Returns how many."""
    ended = services.database.read(recovery.unannounced, services.settings.reaper.announce_grace)
    for run in ended:
        kept = services.database.read(messages.of_state, run.output_state_id)
        services.announcer.ended(run, [message for message in kept if message.attempt])
    return len(ended)
