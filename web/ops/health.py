"""For operators: liveness, readiness, metrics."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress

import gevent
from flask import Blueprint, Flask, Response, request

from runtime.errors import Unavailable
from runtime.store import migrate, pools
from runtime.stream import translated
from web.core import Core, core, this_core
from web.http.responses import json_response

log = logging.getLogger(__name__)
views = Blueprint("ops", __name__)

_PATIENCE = 3.0
"""Seconds that one check may last."""


@views.route("/healthz")
def healthz() -> Response:
    """Liveness: the process answers requests."""
    return json_response({"status": "ok"})


@views.route("/readyz")
def readyz() -> Response:
    """Readiness: 503, with what is missing, unless everything that the process needs is there."""
    checks = {name: _missing(name, check) for name, check in _CHECKS.items()}
    missing = [{"what": name, "why": why} for name, why in checks.items() if why]
    body = {
        "status": "not ready" if missing else "ready",
        "missing": missing,
        "checks": {name: "missing" if why else "ok" for name, why in checks.items()},
        "duties": {name: round(seconds, 1) for name, seconds in core.duties.ages().items()},
    }
    return json_response(body, 503 if missing else 200)


@views.route("/metrics")
def metrics() -> Response:
    """Metrics for Prometheus."""
    lease, lookups = core.settings.pool.lease, core.credentials.lookups
    with suppress(Unavailable):  # what is rendered then says more of it
        core.catalogue.refresh()
    workers = core.catalogue.workers.values()
    text = core.metrics.render(core.database, workers, lease, core.hub.stats(), lookups, core.duties.ages())
    return Response(text, content_type="text/plain; version=0.0.4; charset=utf-8")


def init_app(app: Flask) -> None:
    """Count the requests of ``app``."""
    app.after_request(_count)


def _count(response: Response) -> Response:
    core.metrics.answered(request.method, response.status_code)
    return response


def _missing(name: str, check: Callable[[Core], str | None]) -> str | None:
    """What a check found missing; None if nothing.

    Whoever asks is not signed in. What an error says is for the log: it may hold an address,
    and a password in it that the driver could not read.
    """
    try:
        with gevent.Timeout(_PATIENCE):
            return check(this_core())
    except gevent.Timeout:
        return f"no answer within {_PATIENCE:g} seconds"
    except Unavailable as error:
        _log_missing(name, error)
        return type(error).__doc__
    except Exception as error:  # whatever a driver raises is a reason for not being ready
        _log_missing(name, error)
        return "It could not be checked; the log of this web process says why."


def _log_missing(name: str, error: Exception) -> None:
    log.warning("not ready: %s (%s: %s)", name, type(error).__name__, error)


def _database(core: Core) -> str | None:
    core.database.read(pools.names_with_backlog)
    return None


def _migrations(core: Core) -> str | None:
    if not core.migrated:
        there = migrate.current(core.settings.database_url)
        if migrate.is_behind(there):
            return (
                f"the database is at {there or 'nothing'}, not at {migrate.head()}; run `branchline migrate`"
            )
        core.migrated = True
    return None


def _redis(core: Core) -> str | None:
    with translated():
        core.link.client.ping()
        missing = core.missing_rights.get()
    return f"its user may not: {'; '.join(missing)}" if missing else None


def _broker(core: Core) -> str | None:
    refused = core.refused_queues.get()
    return "; ".join(f"it refuses the queue of the pool {pool}" for pool in refused) or None


def _duties(core: Core) -> str | None:
    failing = core.duties.failing()
    return f"{', '.join(failing)}: the log of this web process says why" if failing else None


_CHECKS = {
    "database": _database,
    "migrations": _migrations,
    "redis": _redis,
    "broker": _broker,
    "duties": _duties,
}
