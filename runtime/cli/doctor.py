"""``branchline doctor``: what is wrong, and how to fix it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import click
import httpx
import redis.exceptions
from rich.markup import escape

from runtime.cli.output import as_json, print_json
from runtime.cli.terminal import console
from runtime.errors import BranchlineError, BrokerUnavailable, StreamUnavailable
from runtime.logs import printable
from runtime.queue import redis as broker_redis
from runtime.queue.publisher import refused_queues
from runtime.sandbox.policy import InForce
from runtime.sandbox.rules import Level
from runtime.services import Services
from runtime.settings import current
from runtime.settings.database_address import Address, SQLiteFile
from runtime.store import migrate, pools, recovery
from runtime.stream import rights
from runtime.stream.address import is_redis
from runtime.tokens import CLOCK_SKEW

_TIMEOUT = 3.0
"""Seconds to wait for each answer."""
_SKEW = 5.0
"""Seconds by which clocks may differ before that is a problem."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was checked, the result, and how to fix it if it is a problem."""

    about: str
    found: str
    remedy: str | None = None


Check = Callable[[Services], Iterator[Finding]]


@click.command()
@as_json
def doctor(json: bool) -> None:
    """Find problems and how to fix them; exit code 1 if there are any.

    Checks the database and its migrations, Redis, the broker, the worker
    folders, the pools, the clocks, the reaper, and the web process, as this
    environment's settings name them.
    """
    findings = [finding for check in _CHECKS for finding in _run(check)]
    if json:
        print_json(
            [
                {"about": f.about, "ok": f.remedy is None, "found": f.found, "remedy": f.remedy}
                for f in findings
            ]
        )
    else:
        for finding in findings:
            _show(finding)
    sys.exit(1 if any(finding.remedy for finding in findings) else 0)


def _run(check: Check) -> list[Finding]:
    services = Services(current())
    try:
        return list(check(services))
    except BranchlineError as error:
        found = str(error)
    except Exception as error:  # of a driver, such as a table that a database lacks which is not migrated
        found = str(error).split("\n")[0]
    about = check.__name__.strip("_").replace("_", " ")
    return [Finding(about, found, _REMEDIES.get(check, "Fix the problem above."))]


def _show(finding: Finding) -> None:
    mark = "[green]✓[/]" if finding.remedy is None else "[red]✗[/]"
    console.print(f"{mark} [bold]{finding.about}[/]: {escape(printable(finding.found))}")
    if finding.remedy:
        console.print(f"  → {escape(printable(finding.remedy))}")


def _database(services: Services) -> Iterator[Finding]:
    has = migrate.current(services.settings.database_url)
    where = services.database.address
    if not migrate.is_behind(has):
        yield Finding("database", f"{where}, up to date ({has})")
    else:
        yield Finding(
            "database", f"{where} is at {has or 'nothing'}, not {migrate.head()}", "Run: branchline migrate"
        )


def _redis(services: Services) -> Iterator[Finding]:
    try:
        client = services.link.client
        version = client.info("server")["redis_version"]
        policy = client.info("memory").get("maxmemory_policy", "noeviction")
        missing = rights.missing_of_stream(services.link)
    except (redis.exceptions.RedisError, OSError) as error:
        raise StreamUnavailable(
            f"no answer at {_without_password(services.settings.redis_url)} ({error})"
        ) from error
    where = f"{_without_password(services.settings.redis_url)}, version {version}"
    if policy != "noeviction":
        yield Finding(
            "redis",
            f"{where}, evicts data when memory is full ({policy})",
            "Set maxmemory-policy to noeviction: streams begin anew where a part of a log is evicted, "
            "and queued messages wait until they are published again.",
        )
    else:
        yield Finding("redis", where)
    yield from _rights("redis", missing)


def _broker(services: Services) -> Iterator[Finding]:
    where = _without_password(services.settings.broker_url)
    names = {worker.pool for worker in services.registry.workers.values()}
    try:
        refused = refused_queues(services.celery, sorted(names), _TIMEOUT)
    except BrokerUnavailable as error:
        raise BrokerUnavailable(f"no answer at {where} ({error.__cause__ or error})") from error
    yield Finding("broker", where)
    if is_redis(services.settings.broker_url):
        try:
            yield from _rights("broker", broker_redis.missing_rights(services.settings, _TIMEOUT))
        except redis.exceptions.RedisError as error:
            raise BrokerUnavailable(f"no answer at {where} ({error})") from error
    for pool, why in refused.items():
        yield Finding("broker", f"it refuses the queue of the pool {pool}: {why}", _REFUSED)


def _rights(about: str, missing: Sequence[str]) -> Iterator[Finding]:
    """What the user of a Redis may not do."""
    for line in missing:
        yield Finding(about, f"its user may not: {line}", "Give it the rights in docs/how-to/deploy.md.")


def _workers(services: Services) -> Iterator[Finding]:
    found = services.registry
    yield Finding("workers", ", ".join(sorted(found.workers)) or "none")
    for folder, problem in found.broken.items():
        yield Finding("workers", f"{folder} cannot be used", problem)


def _pools(services: Services) -> Iterator[Finding]:
    alive = [p for p in services.database.read(pools.listing, services.settings.pool.lease) if p.alive]
    for name in sorted({worker.pool for worker in services.registry.workers.values()}):
        of_name = [pool for pool in alive if pool.name == name]
        slots, busy = sum(pool.slots for pool in of_name), sum(pool.busy for pool in of_name)
        if of_name:
            yield Finding("pool", f"{name}: {len(of_name)} running, {busy} of {slots} slots busy")
        else:
            yield Finding("pool", f"{name}: not running, its runs wait", f"Start it: branchline pool {name}")
        for pool in of_name:
            if pool.queue_refusal:
                found = f"{pool.incarnation} is refused its queue: {pool.queue_refusal}"
                yield Finding("pool", found, _REFUSED)


def _clocks(services: Services) -> Iterator[Finding]:
    """How far the clock of each process is ahead of the database's, in seconds."""
    skews = {"this process": services.database.read(pools.clock_skew, time.time).seconds}
    for pool in services.database.read(pools.listing, services.settings.pool.lease):
        if pool.alive and pool.clock_skew is not None:
            skews[f"pool process {pool.incarnation}"] = pool.clock_skew
    web = _web_clock(services.settings.api_url)
    if web is not None:
        skews["web"] = services.database.read(pools.clock_skew, lambda: web).seconds
    wrong = [name for name, skew in skews.items() if abs(skew) > _SKEW]
    yield Finding(
        "clocks",
        "; ".join(f"{name} {skew:+.1f} s" for name, skew in skews.items()) + ", against the database's",
        f"Synchronise the clocks (NTP). Beyond {CLOCK_SKEW} s users are signed out." if wrong else None,
    )


def _web_clock(url: str) -> float | None:
    """What the web process takes for the time, to the second; None where it does not answer."""
    try:
        answer = httpx.get(f"{url}/healthz", timeout=_TIMEOUT, trust_env=False)
        return parsedate_to_datetime(answer.headers["Date"]).timestamp() + 0.5
    except (httpx.HTTPError, KeyError, ValueError):
        return None


def _sandbox(services: Services) -> Iterator[Finding]:
    """What each pool enforces. What its machine cannot do is no mistake of an installation."""
    alive = [p for p in services.database.read(pools.listing, services.settings.pool.lease) if p.alive]
    found: dict[str, set[str]] = {}
    for pool in alive:
        for worker_id, report in pool.workers.items():
            if report.get("sandbox"):
                found.setdefault(_describe_sandbox(report["sandbox"]), set()).add(worker_id)
    for text, ids in found.items():
        yield Finding("sandbox", f"{text} (of {', '.join(sorted(ids))})")
    for sentence in services.open_to_runs():
        yield Finding("sandbox", sentence)


def _describe_sandbox(report: Mapping[str, Any]) -> str:
    return InForce(Level(report["level"]), tuple(report["in_force"]), report["missing"]).describe()


def _reaper(services: Services) -> Iterator[Finding]:
    lost = len(services.database.read(recovery.expired))
    forgotten = len(services.database.read(recovery.unannounced, services.settings.reaper.announce_grace * 5))
    if lost or forgotten:
        yield Finding(
            "reaper",
            f"{lost} lost runs and {forgotten} unannounced results wait for it",
            "Start it: branchline reaper (and run doctor again in a few seconds)",
        )
    else:
        yield Finding("reaper", "nothing waits for it")


def _web(services: Services) -> Iterator[Finding]:
    url = services.settings.api_url
    try:
        answer = httpx.get(f"{url}/readyz", timeout=_TIMEOUT, trust_env=False)
    except httpx.HTTPError as error:
        yield Finding(
            "web", f"no answer at {url} ({error})", "Start everything (make run) or: branchline web"
        )
        return
    if answer.status_code == 200:
        yield Finding("web", f"{url}, ready")
    else:
        yield Finding("web", f"{url} is not ready: {answer.text.strip()}", "Fix the problems above.")


def _without_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


_REFUSED = (
    "Delete that queue at the broker, so that it is made as Branchline needs it (the runs in it are "
    "published again), or give its user the right to it."
)
_CHECKS: tuple[Check, ...] = (
    _database,
    _redis,
    _broker,
    _workers,
    _pools,
    _clocks,
    _sandbox,
    _reaper,
    _web,
)
_REMEDIES: dict[Check, str] = {
    _database: "Start it, or set DATABASE_URL.",
    _redis: "Start it (make run starts one), or set REDIS_URL.",
    _broker: "Start it, or set BROKER_URL.",
    _pools: "Fix the database first.",
    _clocks: "Fix the database first.",
    _sandbox: "Fix the database first.",
    _reaper: "Fix the database first.",
}
