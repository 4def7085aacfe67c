"""Publish: runs that wait although their pool has room, and runs whose message was lost."""

from __future__ import annotations

from runtime.services import Services
from runtime.store import backlog, pools


def publish_backlog(services: Services) -> int:
    """Put runs with a lost message back into the backlog, then publish from it. Returns how many."""
    settings = services.settings
    services.database.write(backlog.forget_unclaimed, settings.reaper.publish_grace, settings.pool.lease)
    waiting = services.database.read(pools.names_with_backlog)
    return sum(services.publisher.publish_next(pool) for pool in waiting)
