"""For operators: liveness, readiness, metrics."""

from __future__ import annotations

from collections.abc import Callable

import gevent
from flask import Blueprint, Flask, Response, request

from runtime.errors import BranchlineError
from runtime.store import migrate, pools
from web.core import Core, core, this_core
from web.http.responses import json_response

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
    checks = {name: _missing(check) for name, check in _CHECKS.items()}
    missing = [{"what": name, "why": why} for name, why in checks.items() if why]
    body = {
        "status": "not ready" if missing else "ready",
        "missing": missing,
        "checks": {name: "missing" if why else "ok" for name, why in checks.items()},
    }
    return json_response(body, 503 if missing else 200)


@views.route("/metrics")
def metrics() -> Response:
    """Metrics for Prometheus."""
    lease, lookups = core.settings.pool.lease, core.credentials.lookups
    text = core.metrics.render(core.database, lease, core.hub.stats(), lookups)
    return Response(text, content_type="text/plain; version=0.0.4; charset=utf-8")


def init_app(app: Flask) -> None:
    """Count the requests of ``app``."""
    app.after_request(_count)


def _count(response: Response) -> Response:
    core.metrics.requests.labels(request.method, response.status_code).inc()
    return response


def _missing(check: Callable[[Core], str | None]) -> str | None:
    """What a check found missing; None if nothing."""
    try:
        with gevent.Timeout(_PATIENCE):
            return check(this_core())
    except gevent.Timeout:
        return f"no answer within {_PATIENCE:g} seconds"
    except BranchlineError as error:
        return str(error)
    except Exception as error:  # whatever a driver raises is a reason for not being ready
        return f"{type(error).__name__}: {error}"


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
    core.link.client.ping()
    return None


def _broker(core: Core) -> str | None:
    with core.celery.connection_for_write() as connection:
        connection.ensure_connection(max_retries=1, interval_start=0, timeout=_PATIENCE)
    return None


_CHECKS = {"database": _database, "migrations": _migrations, "redis": _redis, "broker": _broker}
