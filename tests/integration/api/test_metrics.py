"""The public /metrics: figures about workers and pools that are here, which nobody outside can invent."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from flask import Flask

from runtime import settings as settings_module
from runtime.services import Services
from runtime.store import figures, tables, threads
from runtime.store.figures import Figures
from runtime.testing.client import PASSWORD
from runtime.testing.redis_server import RedisServer
from runtime.testing.waiting import until
from tests.support.attempt import Attempt
from tests.support.metrics import Samples, samples
from tests.support.web import Client
from tests.support.web_process import stack_on_sqlite, web_only

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def ada(app: Flask) -> Client:
    client = app.test_client()
    assert isinstance(client, Client)
    return client.sign_up("ada")


def export(*parts: dict[str, Any]) -> dict[str, Any]:
    """An export of one run for each of ``parts``."""
    time = "2026-01-31T12:00:00Z"
    run = {"input_state_id": "r", "output_state_id": "r", "status": "success", "created_at": time}
    return {
        "format": "branchline-thread",
        "version": 1,
        "thread": {},
        "states": [{"id": "r", "parent_id": None, "created_at": time}],
        "runs": [{**run, "id": str(number), **part} for number, part in enumerate(parts)],
    }


def test_an_import_neither_makes_series_nor_counts(ada: Client) -> None:
    ada.get("/metrics")  # which counts itself
    before = {name for name, _ in samples(ada)}, len(samples(ada))
    made = [{"worker_id": f"w{number}", "pool": f"p{number}", "attempt": 9} for number in range(200)]
    made.append({"worker_id": "parrot", "pool": "exec", "attempt": 9})

    assert ada.post("/api/threads/import", json=export(*made)).status_code == 201

    after = samples(ada)
    runs_there = {labels: value for (name, labels), value in after.items() if name == "branchline_runs"}
    assert not runs_there
    assert not any(name == "branchline_claims_total" for name, _ in after)
    assert len(after) <= before[1] + 2  # POST, and its status


def test_workers_and_pools_that_are_not_installed_share_one_label(ada: Client, app: Flask) -> None:
    found_by_another = {
        ("gone", "old"): Figures({"success": 2}, 3, 1),
        ("gone too", "older"): Figures({"success": 5}, 5),
        ("parrot", "exec"): Figures({"success": 1}, 1),
    }
    database = app.extensions["branchline"].database
    assert database.write(figures.claim, "another")
    database.write(figures.keep, "another", found_by_another, 60.0)

    found = samples(ada)

    gone = (("pool", "other"), ("worker", "other"))
    assert found["branchline_runs", (gone[0], ("status", "success"), gone[1])] == 7
    assert found["branchline_claims_total", gone] == 8
    assert found["branchline_reaps_total", gone] == 1
    assert found["branchline_claims_total", (("pool", "exec"), ("worker", "parrot"))] == 1


def test_methods_that_nobody_knows_share_one_label(app: Flask) -> None:
    client = app.test_client()
    for number in range(20):
        client.open("/healthz", method=f"BREW{chr(65 + number)}")
    client.post("/api/auth/login", json={"email": "a@example.com", "password": PASSWORD})

    assert isinstance(client, Client)
    methods = {dict(labels).get("method") for (name, labels) in samples(client) if "requests" in name}
    assert methods <= {"other", "POST", "GET"}


def test_runs_are_counted_by_how_long_they_waited_and_took_and_by_their_error(
    ada: Client, app: Flask
) -> None:
    for waited, took, code in ((0.2, 20, "timeout"), (0.2, 2, None), (70, 2, "worker_error")):
        run_id = ada.ask(ada.thread()).json["runs"][0]["id"]
        error = {"code": code, "message": "", "retryable": False, "log_tail": ""} if code else None
        app.extensions["branchline"].database.write(_end, run_id, waited, took, error)
    of = ("pool", "exec"), ("worker", "parrot")

    found = samples(ada)

    def within(name: str, bound: str) -> float:
        return found[f"branchline_{name}_bucket", (("le", bound), *of)]

    waits = [within("queue_wait_seconds", bound) for bound in ("0.1", "0.25", "60.0", "120.0", "+Inf")]
    first = [within("first_delta_seconds", bound) for bound in ("1.0", "2.5", "60.0", "120.0", "+Inf")]
    durations = [within("run_duration_seconds", bound) for bound in ("1.0", "2.5", "30.0", "+Inf")]
    assert (waits, durations) == ([0, 2, 2, 3, 3], [0, 2, 3, 3])
    assert first == [0, 1, 1, 2, 2], "one has written nothing"
    assert found["branchline_run_duration_seconds_sum", of] == pytest.approx(24, abs=0.01)
    assert found["branchline_queue_wait_seconds_sum", of] == pytest.approx(70.4, abs=0.01)
    for code in ("timeout", "worker_error"):
        assert found["branchline_run_errors_total", (("code", code), *of)] == 1


def _end(c: sa.Connection, run_id: str, waited: float, took: float, error: dict[str, Any] | None) -> None:
    accepted = datetime(2026, 1, 31, tzinfo=UTC)
    started = accepted + timedelta(seconds=waited)
    times = {"created_at": accepted, "started_at": started, "finished_at": started + timedelta(seconds=took)}
    if took == 2:
        times["first_delta_at"] = started + timedelta(seconds=1)
    status = "error" if error else "success"
    c.execute(
        tables.runs.update().where(tables.runs.c.id == run_id).values(status=status, error=error, **times)
    )


def test_no_counter_falls_whichever_process_is_asked_and_whatever_is_erased(
    tmp_path: Path, sqlite_template: Path, redis_server: RedisServer
) -> None:
    two = stack_on_sqlite(tmp_path, sqlite_template, redis_server, BRANCHLINE_WEB_WORKERS="2")
    with web_only(two) as stack, closing(stack.client()) as client:
        services = Services(settings_module.load(stack.environ))
        highest: Samples = {}

        def all_are_seen(claims: int) -> bool:
            with httpx.Client(base_url=stack.url) as anew:  # so that the kernel chooses a process again
                found = samples(anew)
            for key, value in found.items():
                if key[0].endswith(("_total", "_bucket", "_sum", "_count")):
                    assert value >= highest.get(key, 0.0), key
                    highest[key] = value
            both = {dict(labels)["web"] for name, labels in highest if name == "branchline_log_reads_total"}
            return sum_of(found, "claims_total") == claims and len(both) == 2

        for claims in range(1, 4):
            thread = client.thread()
            [run] = client.ask(thread, "Hello")["runs"]
            Attempt(services, run["id"]).finish()
            until(lambda claims=claims: all_are_seen(claims), what="both have been asked")
            client.delete(f"/api/threads/{thread['id']}")
            client.delete("/api/trash")
            assert services.database.write(threads.purge, 1.0) == 1
        services.database.close()
        services.link.close()


def sum_of(found: Samples, name: str) -> float:
    return sum(value for (sample, _), value in found.items() if sample == f"branchline_{name}")
