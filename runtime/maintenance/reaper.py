"""The reaper: makes up for what was lost.

Runs whose lease ran out go back to the queue, or end; runs whose message never
left or was lost are published again; ends that nobody announced are announced;
titles that a worker is to make are asked for, and given to their threads.
Any number of reapers may run: each change is guarded by what it expects to find.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import time
from collections.abc import Callable

from runtime.errors import StreamUnavailable, Unavailable
from runtime.logs import configure
from runtime.maintenance.titles import Titles
from runtime.model import Channel, Message, MessageStatus, MessageType, Role, Run
from runtime.services import Services
from runtime.settings import current
from runtime.store import backlog, messages, pools, recovery, requests, threads

log = logging.getLogger(__name__)

_STOP = (signal.SIGTERM, signal.SIGINT)
_HOUSEKEEPING = 600.0
"""Seconds between two rounds of throwing away what has expired."""


class Reaper:
    """One round after another, each of the duties by itself."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._settings = services.settings
        self._titles = Titles(services)
        self._kept_house = float("-inf")

    def run(self) -> None:
        """Go round until SIGTERM or SIGINT, which wait for the end of a round."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOP)
        while True:
            self.round()
            if signal.sigtimedwait(_STOP, self._settings.reaper.interval):
                return

    def round(self) -> None:
        """Every duty once. What is away is tried again in the next round."""
        for duty in (
            self.take_over_lost,
            self.announce_ended,
            self.publish_forgotten,
            self._titles.take,
            self._titles.ask,
            self._keep_house,
        ):
            self._attempt(duty)

    def release(self, incarnation: str) -> None:
        """A pool process is known to be dead: do not wait for its leases."""
        self._services.database.write(recovery.release, incarnation)

    def take_over_lost(self) -> int:
        """Decide about every run whose lease has run out. Returns how many."""
        lost = self._services.database.read(recovery.expired)
        for run in lost:
            self._take_over(run)
        return len(lost)

    def announce_ended(self) -> int:
        """Announce ends that their executor could not. Returns how many."""
        grace = self._settings.reaper.announce_grace
        ended = self._services.database.read(recovery.unannounced, grace)
        for run in ended:
            kept = self._services.database.read(messages.of_state, run.output_state_id)
            self._services.announcer.ended(run, [m for m in kept if m.attempt])
        return len(ended)

    def publish_forgotten(self) -> int:
        """Publish what has room and was not published, or whose message was lost."""
        database = self._services.database
        lease = self._settings.pool.lease
        database.write(backlog.forget_unclaimed, self._settings.reaper.publish_grace, lease)
        waiting = database.read(pools.names_with_backlog)
        return sum(self._services.publisher.publish_next(pool) for pool in waiting)

    def _take_over(self, run: Run) -> None:
        story = f"Attempt {run.attempt} was lost: its pool process ({run.claimed_by}) stopped answering."
        backoff = self._settings.run.retry_backoff * (2**run.failures - 1)
        verdict = self._services.database.write(recovery.take_over, run, self._rescue(run), backoff, story)
        if verdict is None:
            return
        log.warning("%s The run %s is %s now.", story, run.id, verdict.run.status)
        if verdict.retried:
            self._services.announcer.retried(verdict.run, verdict.void)
        else:
            self._services.announcer.ended(verdict.run, verdict.messages)

    def _rescue(self, run: Run) -> list[Message]:
        """The text of the lost attempt that only the event log still has."""
        try:
            found = self._services.log.open_messages(run.thread_id)
        except StreamUnavailable:
            return []
        return [
            Message(
                id=one.message_id,
                state_id=run.output_state_id,
                position=one.message["position"],
                role=Role(one.message["role"]),
                content=one.text,
                type=MessageType(one.message["type"]),
                channel=Channel(one.message["channel"]),
                author=one.message["author"],
                data=one.message["data"],
                status=MessageStatus.PARTIAL,
                run_id=run.id,
                attempt=run.attempt,
            )
            for one in found
            if one.run_id == run.id and one.attempt == run.attempt
        ]

    def _keep_house(self) -> None:
        if time.monotonic() - self._kept_house < _HOUSEKEEPING:
            return
        for chore in (requests.forget_old, pools.forget):
            self._services.database.write(chore)
        if not self._services.database.write(threads.purge):  # a few threads a round, until none is left
            self._kept_house = time.monotonic()

    def _attempt(self, duty: Callable[[], object]) -> None:
        try:
            duty()
        except Unavailable as error:
            log.warning("%s: %s", duty.__name__, error)


def main(arguments: list[str] | None = None) -> int:
    """Run the reaper. Returns an exit code."""
    parser = argparse.ArgumentParser(prog="python -m runtime.maintenance.reaper", description=__doc__)
    parser.add_argument("--once", action="store_true", help="go round once and end")
    parser.add_argument("--released", metavar="INCARNATION", help="a pool process that is known to be dead")
    options = parser.parse_args(arguments)
    settings = current()
    configure(settings)
    reaper = Reaper(Services(settings))
    if options.released:
        reaper.release(options.released)
    if options.once:
        reaper.round()
        return 0
    reaper.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
