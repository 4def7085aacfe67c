"""Configs over the API: what takes too long to check is refused, and holds up nobody else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from runtime.process_pool import ProcessPool
from runtime.registry import config_schema, json_schema
from runtime.testing.client import Client as HttpClient
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from tests.support.web import Client, write_worker
from tests.support.web_process import web_only

pytestmark = pytest.mark.timeout(90)

SLOW = {"code": "a" * 40 + "!"}
SCHEMA = {"properties": {"code": {"pattern": "^(a+)+$"}, "tags": {"uniqueItems": True}}}


@pytest.fixture
def worker_folder(worker_folder: Path) -> Path:
    write_worker(worker_folder, "strict")
    (worker_folder / "strict" / "config_schema.json").write_text(json.dumps(SCHEMA))
    return worker_folder


@pytest.fixture
def ada(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A client, whose configs are given up sooner than in earnest."""
    processes = ProcessPool(json_schema.examine, size=2, seconds=0.2, patience=60)
    monkeypatch.setattr(config_schema, "processes", processes)
    client = app.test_client()
    assert isinstance(client, Client)
    yield client.sign_up("ada")
    processes.close()


def refused(answer: Any, words: str) -> None:
    assert answer.status_code == 422, answer.text
    [error] = answer.json["errors"]
    assert error["path"] == "config"
    assert words in error["message"]


def test_a_config_that_takes_too_long_is_refused_wherever_it_is_sent(ada: Client) -> None:
    thread = ada.thread(worker_id="strict")
    body = {"worker_id": "strict", "config": SLOW}

    for answer in (
        ada.post("/api/threads", json=body),
        ada.patch(f"/api/threads/{thread['id']}", json={"config": SLOW}),
        ada.patch(f"/api/threads/{thread['id']}", json=body),
        ada.ask(thread, **body),
        ada.ask(thread, config=SLOW, worker_id=None),
        ada.post("/api/runs", json=body),
        ada.post("/api/runs", json=body, headers={"Idempotency-Key": "k"}),
    ):
        refused(answer, "could not be checked within 1 s")


def test_the_config_of_a_thread_is_checked_again_when_its_worker_runs(ada: Client) -> None:
    thread = ada.thread(config=SLOW)
    ada.patch(f"/api/threads/{thread['id']}", json={"worker_id": "strict"})

    refused(ada.ask(thread, worker_id=None), "could not be checked within 1 s")


def test_a_config_is_checked_in_no_transaction(ada: Client, app: Flask, monkeypatch: Any) -> None:
    """A check that waits must not hold a connection or the place of a request that could be accepted."""
    core = app.extensions["branchline"]
    assert core.catalogue.find("strict")
    database = core.database
    open_transactions = 0
    transaction = type(database.engine).transaction

    def counted(self: Any, mode: Any, function: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal open_transactions
        open_transactions += 1
        try:
            return transaction(self, mode, function, *args, **kwargs)
        finally:
            open_transactions -= 1

    def call(question: Any, caller: str) -> Any:
        assert open_transactions == 0
        assert caller == ada.user["id"]
        return {"value": question["value"], "mistakes": []}

    monkeypatch.setattr(type(database.engine), "transaction", counted)
    monkeypatch.setattr(config_schema.processes, "call", call)
    thread = ada.thread(worker_id="strict", config=SLOW)
    changed = ada.patch(f"/api/threads/{thread['id']}", json={"config": {"code": "x"}})

    assert changed.status_code == 200
    assert ada.ask(thread, worker_id=None).status_code == 202
    body = {"worker_id": "strict", "config": SLOW}
    new = ada.post("/api/runs", json=body, headers={"Idempotency-Key": "k"})
    assert new.status_code == 202


@pytest.mark.parametrize("worker_id", [None, "parrot"])
def test_a_config_beyond_its_size_is_refused_wherever_it_is_sent(ada: Client, worker_id: str | None) -> None:
    thread = ada.thread(worker_id=worker_id)
    body = {"worker_id": worker_id, "config": {"tone": "x" * 300_000}}

    for answer in (
        ada.post("/api/threads", json=body),
        ada.patch(f"/api/threads/{thread['id']}", json=body),
        ada.ask(thread, **body),
        ada.post("/api/runs", json=body),
    ):
        refused(answer, "at most 256 KiB")


def test_a_replayed_request_is_answered_even_if_it_would_be_refused_now(
    ada: Client, app: Flask, monkeypatch: Any
) -> None:
    body = {"worker_id": "parrot", "config": {"tone": "terse"}}
    first = ada.post("/api/runs", json=body, headers={"Idempotency-Key": "k"})
    monkeypatch.setattr(app.extensions["branchline"].catalogue, "find", None)

    again = ada.post("/api/runs", json=body, headers={"Idempotency-Key": "k"})

    assert again.status_code == 202
    assert again.json == first.json


def test_one_users_slow_checks_hold_up_nobody_else(
    tmp_path: Path, stack_redis: RedisServer, stack_database_url: str, worker_folder: Path
) -> None:
    body = {"worker_id": "strict", "config": SLOW}

    def ask(client: HttpClient) -> int:
        return client.post("/api/runs", json=body).status_code

    with (
        web_only(
            Stack(tmp_path, stack_database_url, stack_redis.url, pools=(), WORKERS_PATH=str(worker_folder))
        ) as stack,
        HttpClient(stack.url) as greedy,
        HttpClient(stack.url) as modest,
        ThreadPoolExecutor(4) as pool,
    ):
        greedy.register()
        modest.register()
        slow = [pool.submit(ask, greedy) for _ in range(4)]
        answers = [
            modest.post("/api/threads", json={"worker_id": "strict", "config": {"code": text}})
            for text in ("a", "aa", "aaa")
        ]

        assert [answer.status_code for answer in answers] == [201] * 3
        assert not all(one.done() for one in slow)
        assert {one.result() for one in slow} <= {422, 429}
        assert "Traceback" not in stack.log("web")
