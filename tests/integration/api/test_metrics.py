"""The public /metrics: figures about workers and pools that are here, which nobody outside can invent."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families

from runtime.store import runs
from runtime.testing.client import PASSWORD
from tests.support.web import Client

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def ada(app: Flask) -> Client:
    client = app.test_client()
    assert isinstance(client, Client)
    return client.sign_up("ada")


def samples(client: Client) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = client.get("/metrics").text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


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
    core = app.extensions["branchline"]
    ada.ask(ada.thread())
    tallies = [
        runs.Tally("gone", "old", "success", 2, 3, 1),
        runs.Tally("gone too", "older", "success", 5, 5, 0),
        runs.Tally("parrot", "exec", "success", 1, 1, 0),
    ]
    core.metrics._tallies.now = lambda c: tallies

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
