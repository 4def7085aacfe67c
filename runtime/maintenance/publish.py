"""Publish: runs that wait although their pool has room, and runs whose message was lost."""

from __future__ import annotations

from runtime.duties import for_each
from runtime.services import Services
from runtime.store import backlog, calls, pools


def publish_backlog(services: Services) -> None:
    """Put runs with a lost message back into the backlog, then publish from it."""
    settings = services.settings
    grace = settings.reaper.publish_grace
    if services.database.read(backlog.are_unclaimed, grace):
        services.database.write(backlog.forget_unclaimed, grace, settings.pool.lease)
    waiting = services.database.read(pools.names_with_backlog)
    for_each(waiting, services.publisher.publish_next)
    # Sub-runs that wait for a moment only are told of once more, which does no harm.
    for_each(services.database.read(calls.pools_with_waiting), services.notices.to_pool_of_calls)
