"""Versions of workers, as the pools that have them have registered them.

A pool process reports which versions it has (:mod:`runtime.store.pools`); what their worker.toml
and schema say is here, once for each version, so that other processes need no folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy import Connection

from runtime.store.dialects import upsert
from runtime.store.tables import now, pools, worker_versions

FORGET_AFTER = 7 * 86400
"""Seconds after which a version is forgotten that no pool process has."""
_SEEN_AGAIN = 3600
"""Seconds after which a version that a pool process still has is written again."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a worker."""

    digest: str
    worker_id: str
    pool: str
    registered_at: datetime
    """When it was first registered."""


def register(c: Connection, pool: str, manifests: Mapping[str, Mapping[str, Any]]) -> None:
    """A process of ``pool`` has the versions with these manifests, by digest.

    What is there, and was seen within the hour, is not written again.
    """
    recent = sa.select(worker_versions.c.digest).where(
        worker_versions.c.digest.in_(list(manifests)), worker_versions.c.seen_at > now(-_SEEN_AGAIN)
    )
    known = set(c.execute(recent).scalars())
    rows = [
        {
            "digest": digest,
            "worker_id": manifest["worker"]["id"],
            "pool": pool,
            "manifest": orjson.dumps(manifest).decode(),
        }
        for digest, manifest in sorted(manifests.items())  # in one order, so that no two processes block
        if digest not in known
    ]
    if rows:
        c.execute(_REGISTER[c.dialect.name], rows)


def listing(c: Connection) -> list[Version]:
    """All that are known, the newest first."""
    columns = (
        worker_versions.c.digest,
        worker_versions.c.worker_id,
        worker_versions.c.pool,
        worker_versions.c.registered_at,
    )
    query = sa.select(*columns).order_by(
        worker_versions.c.registered_at.desc(), worker_versions.c.digest.desc()
    )
    return [Version(*row) for row in c.execute(query)]


def manifests(c: Connection, digests: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """What is registered of these versions, by digest."""
    if not digests:
        return {}
    query = sa.select(worker_versions.c.digest, worker_versions.c.manifest).where(
        worker_versions.c.digest.in_(list(digests))
    )
    return {row.digest: orjson.loads(row.manifest) for row in c.execute(query)}


def forget_replaced(c: Connection, pool: str, lease: float) -> None:
    """Forget the versions of a pool that none of its living processes has.

    Without that, a worker that was removed would be listed again once its pool stops.
    """
    before = [version.digest for version in listing(c) if version.pool == pool]
    # Read in this order: a process commits what it reports together with its versions.
    alive = sa.select(pools.c.workers).where(pools.c.name == pool, pools.c.seen_at > now(-lease))
    reports = [report for workers in c.execute(alive).scalars() for report in workers.values()]
    held = {report.get("digest") for report in reports}
    replaced = [digest for digest in before if digest not in held]
    if replaced:
        c.execute(worker_versions.delete().where(worker_versions.c.digest.in_(replaced)))


def forget_old(c: Connection) -> None:
    """Forget what no pool process has had for a week."""
    c.execute(worker_versions.delete().where(worker_versions.c.seen_at < now(-FORGET_AFTER)))


_REGISTER = upsert(
    worker_versions,
    "digest",
    ("worker_id", "pool", "manifest", "seen_at"),
    registered_at=now(),
    seen_at=now(),
)
