"""A worker may misbehave in any way: its run ends once, with all that it wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from tests.support.coded import coded, write_worker


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, stack_redis: RedisServer, stack_database_url: str
) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("stack")
    pools, paths = ("python", "exec"), write_worker(home)
    with Stack(home, stack_database_url, stack_redis.url, pools, WORKERS_PATH=paths) as stack:
        yield stack


def test_a_flood_of_short_messages_is_stored_completely(client):
    run = coded(client, "for n in range(3000): say(type='message', role='assistant', content=str(n))")

    result = client.wait(run, timeout=60)

    assert result["run"]["status"] == "success"
    assert [message["content"] for message in result["messages"]] == [str(n) for n in range(3000)]


def test_a_run_cancelled_while_its_process_outlives_its_output_is_cancelled(client):
    run = coded(client, "say(type='delta', text='x'); os.close(1); time.sleep(60)")
    with client.stream(f"/api/runs/{run['id']}/events") as events:
        next(event for event in events if event.type == "message.delta")

    answer = client.post(f"/api/runs/{run['id']}/cancel", json={"wait": True}).json()["run"]

    assert (answer["status"], answer["error"]) == ("cancelled", None)


def test_events_sent_over_http_before_the_end_of_a_worker_count(client):
    run = coded(client, "post({'type': 'delta', 'text': 'over HTTP'}); say(type='done')")

    result = client.wait(run)

    assert [message["content"] for message in result["messages"]] == ["over HTTP"]


def test_events_sent_over_http_are_streamed_at_once(client, tmp_path: Path):
    gate = tmp_path / "gate"
    code = """
        post({"type": "delta", "text": "early"})
        while not os.path.exists(args["gate"]):
            time.sleep(0.01)
        """
    run = coded(client, code, "unconfined", gate=str(gate))
    with client.stream(f"/api/runs/{run['id']}/events") as events:
        assert next(event.data["text"] for event in events if event.type == "message.delta") == "early"
        gate.touch()

    assert client.wait(run)["run"]["status"] == "success"


@pytest.mark.parametrize("args", [0, 1.5, -(2**53), True, None, "1", [1], {"a": 1}], ids=json.dumps)
def test_arguments_of_every_json_type_reach_the_worker(client, args):
    run = client.ask(client.thread(), "go", args=args)["runs"][0]

    result = client.wait(run)["run"]

    assert (result["status"], result["args"]) == ("success", args)
