"""While a web process imports a large thread, it answers others."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from runtime.testing.client import Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from tests.support.web_process import web_only

STATES = 25_000
SHARE = 0.12
"""Of the time that the import takes, the most that another request may wait."""
TRIES = 3


@pytest.fixture
def stack(tmp_path: Path, postgresql_url: str, redis_server: RedisServer) -> Iterator[Stack]:
    """A web process and nothing else."""
    with web_only(Stack(tmp_path, postgresql_url, redis_server.url, pools=())) as stack:
        yield stack


def export() -> dict:
    """One long branch."""
    at = "2026-01-02T03:04:05+00:00"
    states: list[dict] = [{"id": "0", "parent_id": None, "created_at": at}]
    for number in range(1, STATES):
        said = {"role": "user", "content": f"Words of state {number}, which are not many."}
        states.append({"id": f"{number}", "parent_id": f"{number - 1}", "created_at": at, "messages": [said]})
    about = {"title": "Large", "created_at": at}
    return {"format": "branchline-thread", "version": 1, "thread": about, "states": states, "runs": []}


@pytest.mark.soak
def test_other_requests_are_answered_while_a_large_thread_is_imported(stack: Stack) -> None:
    with closing(stack.client()) as importer, closing(stack.client()) as other:
        data = export()
        # The machine may make others wait, too, but not for each import.
        assert any(longest_wait(importer, other, data) < SHARE for _ in range(TRIES))


def longest_wait(importer: Client, other: Client, data: dict) -> float:
    """How long an answer took at most while another request imported ``data``: a share of that time."""
    answers, waits = [], []
    importing = threading.Thread(
        target=lambda: answers.append(importer.post("/api/threads/import", json=data, timeout=100))
    )
    began = time.monotonic()
    importing.start()
    while importing.is_alive():
        asked = time.monotonic()
        assert other.get("/api/me").status_code == 200
        waits.append(time.monotonic() - asked)
    took = time.monotonic() - began
    assert answers[0].status_code == 201, answers[0].text
    return max(waits) / took
