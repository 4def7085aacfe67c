"""Announce: ends of runs that are committed, but not in the event log."""

from __future__ import annotations

from runtime.duties import for_each
from runtime.model import Run
from runtime.services import Services
from runtime.store import messages, recovery


def announce_ends(services: Services) -> int:
    """Announce ends that are older than ``announce_grace`` and not announced. Returns how many."""
    ended = services.database.read(recovery.unannounced, services.settings.reaper.announce_grace)
    for_each(ended, lambda run: _announce(services, run))
    return len(ended)


def _announce(services: Services, run: Run) -> None:
    kept = services.database.read(messages.of_state, run.output_state_id)
    services.announcer.ended(run, [message for message in kept if message.attempt])
