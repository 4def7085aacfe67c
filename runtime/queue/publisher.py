"""The publisher: gets accepted runs to the broker, no more of them than their pool can start soon.

A run is published only while its pool has fewer published and unclaimed runs than
slots. All others wait in the database, as the backlog, where cancelling them, their
priority, fairness between users and limits are SQL.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from celery import Celery

from runtime.errors import BrokerUnavailable, Unavailable
from runtime.queue.app import queue
from runtime.queue.failures import is_away
from runtime.queue.messages import TASK
from runtime.queue.refusal import refusal_of
from runtime.store import Database, backlog, pools
from runtime.store.backlog import Ticket

log = logging.getLogger(__name__)

_PAUSE = 1.0
"""Seconds in which a broker that did not answer is not asked again."""
_CONFIRM_TIMEOUT = 2.0
"""Seconds that RabbitMQ may take to confirm a message; it does not while its memory or disk is full."""


class Publisher:
    """Publishes runs, and puts those back into the backlog that could not be published."""

    def __init__(self, database: Database, celery: Celery, lease: float, per_user: int = 0) -> None:
        """``lease``: seconds within which a pool must have reported itself to count.

        ``per_user``: how many runs of a user may run at once; 0 means any number.
        """
        self._database = database
        self._celery = celery
        self._lease = lease
        self._per_user = per_user
        self._away_until = 0.0

    def publish_next(self, pool: str) -> int:
        """Publish what the pool has room for. Returns how many runs that were."""
        tickets = self._database.engine.claim_for_publish(pool, self._lease, self._per_user)
        self.publish(tickets)
        return len(tickets)

    def publish_after(self, pool: str) -> int:
        """The same after runs of that pool have ended. Returns how many runs were published.

        Where the runs of a user are limited, an end makes room in other pools as well.
        """
        names = {pool, *self._database.read(pools.names_with_backlog)} if self._per_user else {pool}
        return sum(self.publish_next(name) for name in names)

    def publish(self, tickets: Sequence[Ticket]) -> None:
        """Publish runs that are marked as published.

        Where the broker is away they go back to the backlog, from which the
        reaper publishes them later; nothing is raised, for nothing is lost.
        """
        done = 0
        try:
            for ticket in tickets:
                self._send(ticket)
                done += 1
        except BrokerUnavailable as error:
            unsent = [ticket.run_id for ticket in tickets[done:]]
            reason = f" ({error.__cause__})" if error.__cause__ else ""
            log.warning("the broker is away%s; the reaper publishes %d runs later", reason, len(unsent))
            try:
                self._database.write(backlog.unpublish, unsent)
            except Unavailable:
                log.warning("the database is away too; the reaper will notice by their age")

    def _send(self, ticket: Ticket) -> None:
        if time.monotonic() < self._away_until:
            raise BrokerUnavailable
        try:
            publish(self._celery, ticket)
        except BrokerUnavailable:
            self._away_until = time.monotonic() + _PAUSE
            raise


def refused_queues(app: Celery, pools: Iterable[str], timeout: float) -> dict[str, str]:
    """The pools whose queue the broker refuses, and what it says; the others are declared, as pools do.

    It connects within ``timeout`` seconds. One that lets us not in refuses them all. Of Redis no
    more is asked than that. Raises BrokerUnavailable.
    """
    refused: dict[str, str] = {}
    with _translated(), app.connection_for_write() as connection:
        for pool in pools:
            try:
                connection.ensure_connection(max_retries=1, interval_start=0, timeout=timeout)
                if not app.on_redis:
                    with connection.channel() as channel:
                        queue(pool, app.installation, app.quorum)(channel).declare()
            except Exception as error:
                refusal = refusal_of(error)
                if refusal is None:
                    raise
                refused[pool] = refusal
    return refused


def publish(app: Celery, ticket: Ticket) -> None:
    """Send a pool the message that a run waits to be claimed.

    Raises BrokerUnavailable; the message may have arrived nevertheless.
    """
    try:
        _publish(app, ticket)
    except BrokerUnavailable:  # a connection from the pool may have died since it was used last
        _publish(app, ticket)


def _publish(app: Celery, ticket: Ticket) -> None:
    with _translated(), app.producer_pool.acquire(block=True) as producer:
        _send(app, producer, ticket)


def _send(app: Celery, producer: Any, ticket: Ticket) -> None:
    to = queue(ticket.pool, app.installation, app.quorum)
    try:
        app.send_task(
            TASK,
            args=[ticket.run_id],
            # What Flower shows; the receiver reads nothing but the run's id.
            shadow=f"{ticket.worker_id}, attempt {ticket.attempt}",
            argsrepr=f"run {ticket.run_id}",
            queue=to,
            # RabbitMQ drops what is sent to a queue that is not declared; Redis needs none.
            declare=() if app.on_redis else (to,),
            ignore_result=True,
            confirm_timeout=_CONFIRM_TIMEOUT,
            retry=False,
            producer=producer,
        )
    except Exception:
        # A late confirmation of this message would be mistaken for that of the next.
        with suppress(Exception):  # what it raises says less than the error itself
            producer.connection.collect()
        raise


@contextmanager
def _translated() -> Iterator[None]:
    """Within it, a broker that is away or refuses is BrokerUnavailable; a fault of ours stays what it is."""
    try:
        yield
    except Exception as error:
        if is_away(error):
            raise BrokerUnavailable from error
        raise
