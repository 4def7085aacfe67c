"""Quorum queues of RabbitMQ: used where the setting says so, and a process of another setting is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.queue.app import make_celery
from runtime.queue.publisher import refused_queues
from runtime.settings import load
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from tests.support.rabbitmq import RabbitMQ, control


@pytest.mark.rabbitmq
def test_runs_come_by_a_quorum_queue(tmp_path: Path, stack_redis: RedisServer, rabbitmq: RabbitMQ) -> None:
    database_url = f"sqlite:///{tmp_path}/branchline.db"
    environ = {"BROKER_URL": rabbitmq.url, "BRANCHLINE_RABBITMQ_QUORUM_QUEUES": "true"}
    with Stack(tmp_path, database_url, stack_redis.url, BRANCHLINE_POOL_SLOTS="2", **environ) as stack:
        client = stack.client()
        runs = client.ask(client.thread(), "one two", n=5)["runs"]
        found = [client.wait(run)["run"] for run in runs]
        client.close()
    kinds = control("list_queues", "--vhost", rabbitmq.name, "name", "type", "--no-table-headers")

    assert [(run["status"], run["attempt"]) for run in found] == [("success", 1)] * 5
    assert ["runs.python", "quorum"] in [line.split("\t") for line in kinds.splitlines()]
    with make_celery(load({"BROKER_URL": rabbitmq.url})) as app:
        assert "x-queue-type" in refused_queues(app, ["python"], 3.0)["python"]
