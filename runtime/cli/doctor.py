"""``branchline doctor``: what is wrong, and how to fix it."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Any

import click
import httpx
import redis.exceptions
from rich.markup import escape

from runtime.cli import imports
from runtime.cli.output import as_json, print_json
from runtime.cli.terminal import console
from runtime.errors import (
    BranchlineError,
    BrokerUnavailable,
    ConfigurationError,
    StoreUnavailable,
    StreamUnavailable,
)
from runtime.logs import printable
from runtime.queue import redis as broker_redis
from runtime.queue.publisher import refused_queues
from runtime.sandbox.policy import InForce
from runtime.sandbox.rules import Level
from runtime.services import Services
from runtime.settings import current
from runtime.settings.database_address import Address, SQLiteFile
from runtime.store import migrate, outbox, pools, recovery
from runtime.stream import rights
from runtime.stream.address import is_redis
from runtime.thread_api.client import trusted
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

    Checks the settings, the database and its migrations, Redis, the broker, the
    worker folders, the pools, the clocks, the reaper, the outbox, and the web
    process, as this environment's settings name them.
    """
    findings = list(_examine())
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


def _examine() -> Iterator[Finding]:
    try:
        services = Services(current())
    except ConfigurationError as error:
        yield Finding("settings", str(error), _SETTINGS)
        return
    database = _run(_database, services)
    yield from database
    for check in (_redis, _broker, _workers):
        yield from _run(check, services)
    if all(finding.remedy is None for finding in database):
        for check in (_pools, _clocks, _sandbox, _reaper, _outbox):
            yield from _run(check, services)
    yield from _run(_web, services)


def _run(check: Check, services: Services) -> list[Finding]:
    """What a check finds; whatever it raises is a finding, too."""
    about = check.__name__.strip("_")
    found: list[Finding] = []
    try:
        found.extend(check(services))
    except ConfigurationError as error:
        found.append(Finding(about, str(error), _SETTINGS))
    except Exception as error:  # of any driver, whose classes nobody lists
        remedy = _REMEDIES[about](str(error)) if about in _REMEDIES else _of_stored(services, error)
        text = str(error) if isinstance(error, BranchlineError) else f"{type(error).__name__}: {error}"
        found.append(Finding(about, text, remedy))
    return [replace(finding, found=" ".join(finding.found.split())) for finding in found]  # one line each


def _show(finding: Finding) -> None:
    mark = "[green]✓[/]" if finding.remedy is None else "[red]✗[/]"
    console.print(f"{mark} [bold]{finding.about}[/]: {escape(printable(finding.found))}")
    if finding.remedy:
        console.print(f"  → {escape(printable(finding.remedy))}")


def _database(services: Services) -> Iterator[Finding]:
    where = services.database.address
    try:
        has = migrate.current(services.settings.database_url)
    except StoreUnavailable as error:
        yield Finding("database", f"{where}: {error}", _of_database(where, str(error)) + _THEN_AGAIN)
        return
    if migrate.is_behind(has):
        what = f"{where} is at {has or 'nothing'}, not {migrate.head()}"
        yield Finding("database", what, "Run: branchline migrate." + _THEN_AGAIN)
    elif migrate.is_later(has):
        yield Finding(
            "database", f"{where}, at {has}, of a later version than this one, which can use it all the same"
        )
    else:
        yield Finding("database", f"{where}, up to date ({has})")


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
    if names and set(refused) == names and len(reasons := set(refused.values())) == 1:
        reason = reasons.pop()
        yield Finding("broker", f"{where} refuses everything: {reason}", _of_broker(reason))
        return
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
    imported = imports.examine(found.workers.values(), services.settings)
    for worker_id, note in imported.notes.items():
        yield Finding("workers", f"{worker_id}: {note}")
    for worker_id, problem in imported.failures.items():
        remedy = None if imports.lacks_package(problem) else _NOT_IMPORTED
        yield Finding("workers", f"{worker_id} cannot run here: {problem}", remedy)


def _pools(services: Services) -> Iterator[Finding]:
    alive = [p for p in services.database.read(pools.listing, services.settings.pool.lease) if p.alive]
    services.catalogue.refresh()
    workers = services.catalogue.workers.values()
    here = services.registry.workers
    useless = {name for name, worker in here.items() if worker.unavailable(os.environ) is not None}
    useful = {worker.pool for worker in workers if worker.id not in useless}
    for name in sorted({worker.pool for worker in workers}):
        of_name = [pool for pool in alive if pool.name == name]
        slots, busy = sum(pool.slots for pool in of_name), sum(pool.busy for pool in of_name)
        if of_name:
            yield Finding("pool", f"{name}: {len(of_name)} running, {busy} of {slots} slots busy")
        elif name in useful:
            yield Finding("pool", f"{name}: not running, its runs wait", f"Start it: branchline pool {name}")
        else:
            yield Finding("pool", f"{name}: not running, and with the settings here no worker of it could")
        for pool in of_name:
            for worker_id, report in pool.workers.items():
                if rejected := report.get("rejected"):
                    found = f"{pool.incarnation} does not take up the change of {worker_id}: {rejected}"
                    yield Finding("pool", found, "Correct the worker's folder; its version before runs on.")
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
        answer = httpx.get(f"{url}/healthz", timeout=_TIMEOUT, trust_env=False, verify=trusted())
        return parsedate_to_datetime(answer.headers["Date"]).timestamp() + 0.5
    except (httpx.HTTPError, httpx.InvalidURL, KeyError, ValueError):
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


def _outbox(services: Services) -> Iterator[Finding]:
    kinds = services.database.read(outbox.counts)
    dead = sum(waiting.dead for waiting in kinds)
    if dead:
        yield Finding(
            "outbox",
            f"{dead} tasks were tried for half an hour and given up",
            "branchline outbox list says why. Once that is mended: branchline outbox replay --all",
        )
    else:
        yield Finding(
            "outbox", f"nothing was given up, {sum(waiting.due for waiting in kinds)} tasks are due"
        )


def _web(services: Services) -> Iterator[Finding]:
    url = services.settings.api_url
    try:
        answer = httpx.get(f"{url}/readyz", timeout=_TIMEOUT, trust_env=False, verify=trusted())
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        yield Finding(
            "web",
            f"no answer at {url} ({error})",
            "Start everything (make run) or: branchline web. If it runs elsewhere, set API_URL. "
            "If it has a certificate of your own authority, SSL_CERT_FILE names that.",
        )
        return
    if answer.status_code == 200 and _names(answer, "checks"):
        yield Finding("web", f"{url}, ready")
    elif missing := _names(answer, "missing"):
        lacks = "; ".join(f"{one['what']}: {one['why']}" for one in missing)
        yield Finding(
            "web",
            f"{url} is not ready: {lacks}",
            "Look at its log. Where all is well above, it has other settings than this command: "
            "start it again with these.",
        )
    else:
        yield Finding(
            "web",
            f"another program answers at {url} (status {answer.status_code})",
            "Stop it and start: branchline web. Or set PORT and BASE_PATH, or API_URL, to where it is.",
        )


def _names(answer: httpx.Response, name: str) -> Any:
    """What an answer of ours has under that name."""
    try:
        document = answer.json()
    except ValueError:
        return None
    return document.get(name) if isinstance(document, dict) else None


def _without_password(url: str) -> str:
    """Each address of a URL, without what may follow: redis-py takes a password there, too."""
    addresses = (one.partition("?")[0].rpartition("@")[2] for one in url.partition("://")[2].split(";"))
    return f"{url.partition('://')[0]}://{';'.join(one.rpartition('://')[2] for one in addresses)}"


def _first(remedies: Mapping[str, str], text: str, otherwise: str) -> str:
    """The remedy of the first pattern that the text of an error has."""
    return next((remedy for pattern, remedy in remedies.items() if re.search(pattern, text, re.I)), otherwise)


def _of_database(where: Address, text: str) -> str:
    if isinstance(where, SQLiteFile):
        return (
            f"Give the user of this process the rights to read and write {where.path} and its folder, and "
            "room on the disk, or name another file in DATABASE_URL."
        )
    return _first(_DATABASE, text, "Start its server, or correct the host and the port in DATABASE_URL.")


def _of_redis(text: str) -> str:
    return _first(_REDIS, text, "Start it (make run starts one), or correct REDIS_URL.")


def _of_broker(text: str) -> str:
    return _first(_BROKER, text, "Start it, or correct BROKER_URL.")


def _of_stored(services: Services, error: Exception) -> str:
    """Of what is read from the database, which answered a moment ago."""
    if isinstance(error, StoreUnavailable):
        return _of_database(services.database.address, str(error))
    return "Its tables are not what its migrations made: restore a backup, or name a new one in DATABASE_URL."


_NOT_IMPORTED = "Correct it; its pool then takes it up by itself."
_SETTINGS = "Correct it in the environment of every process; docs/reference/settings.md has every setting."
_THEN_AGAIN = " Then run doctor again: it finds pools, clocks, the sandbox and the reaper there."
_REFUSED = (
    "Delete that queue at the broker, so that it is made as Branchline needs it (the runs in it are "
    "published again), or give its user the right to it."
)
_DATABASE = {
    "password|authentication failed": "Correct the user and the password in DATABASE_URL (or ~/.pgpass).",
    'database ".*" does not exist': "Create it (createdb NAME), or correct its name in DATABASE_URL.",
    'role ".*" does not exist': "Create that user (createuser NAME), or correct it in DATABASE_URL.",
    "pg_hba.conf": "Let this machine and user in (pg_hba.conf of the server), or correct DATABASE_URL.",
    "definition of service": "Correct service= in DATABASE_URL, or name its file in PGSERVICEFILE.",
    "ssl|certificate": "Correct sslmode, or the certificates, in DATABASE_URL or at the server.",
    "translate host|resolve": "Correct the host in DATABASE_URL.",
}
"""What PostgreSQL and libpq say (its codes are not handed on before a connection is made), and the remedy."""
_REDIS = {
    "WRONGPASS|NOAUTH|AUTH|password": "Correct the user and the password in REDIS_URL.",
    "DB index": "Correct the number of the database at the end of REDIS_URL.",
    "wrong version number|ssl|certificate": "Write rediss:// in REDIS_URL if it speaks TLS (of sentinels "
    "&ssl=true), else redis://, and name its authority (?ssl_ca_certs=/file).",
    "Name or service|resol": "Correct the host in REDIS_URL.",
}
_BROKER = {
    "vhost .* not found": "Create it (rabbitmqctl add_vhost NAME), or correct the path of BROKER_URL.",
    "access to vhost": "Let its user in: rabbitmqctl set_permissions --vhost NAME USER '.*' '.*' '.*'",
    "Login was refused": "Correct the user and the password in BROKER_URL.",
    "WRONGPASS|NOAUTH": "Correct the user and the password in BROKER_URL.",
    "ACCESS_REFUSED": _REFUSED,
    "PRECONDITION|RESOURCE_LOCKED|NOT_FOUND": _REFUSED,
    "No such transport": "Correct BROKER_URL: redis://… or amqp://…",
    "Name or service|resol": "Correct the host in BROKER_URL.",
}
_REMEDIES: Mapping[str, Callable[[str], str]] = {
    "redis": _of_redis,
    "broker": _of_broker,
    "workers": lambda _: "Correct the rights to that folder, or WORKERS_PATH.",
    "web": lambda _: "Correct API_URL.",
}
"""By check; all others read the database."""
