"""Messages of a system are handled once each, whichever process is killed meanwhile."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.testing.client import Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from runtime.testing.waiting import until

pytestmark = pytest.mark.timeout(180)

HOPS, BALLS, KILLS, SEED = 6, 3, 2, 17
PLAYER = '''def run(run):
    """Returns the ball, counted, and sends a note of that; it keeps how many it has seen."""
    run.state = (run.state or 0) + 1
    run.send(run.incoming["body"]["content"], to="ledger", kind="read")
    return run.incoming["body"]["content"] + "."
'''
LEDGER = "def run(run):\n    return None\n"
MANIFEST = 'id = "{0}"\nname = "{0}"\ntype = "python"\nentrypoint_path = "worker.py"\n'
QUICK = {
    "BRANCHLINE_POOL_LEASE": "6",
    "BRANCHLINE_POOL_RENEW": "1",
    "BRANCHLINE_RUN_RETRY_BACKOFF": "0",
    "BRANCHLINE_RUN_MAX_ATTEMPTS": "20",
}
PING_PONG = {
    "name": "ping-pong",
    "limits": {"hops": HOPS},
    "entities": [
        {"name": "white", "worker_id": "player", "entry": True},
        {"name": "black", "worker_id": "player"},
        {"name": "ledger", "worker_id": "ledger", "entry": True, "mailbox": {"size": 2}},
    ],
    "channels": [
        {"from": "white", "to": "black", "kind": "query"},
        {"from": "black", "to": "white", "kind": "query"},
    ],
}


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, stack_redis: RedisServer, stack_database_url: str
) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("stack")
    for name, code in (("player", PLAYER), ("ledger", LEDGER)):
        folder: Path = home / "workers" / name
        folder.mkdir(parents=True)
        (folder / "worker.toml").write_text(MANIFEST.format(name))
        (folder / "worker.py").write_text(code)
    settings = {**QUICK, "WORKERS_PATH": str(home / "workers")}
    with Stack(home, stack_database_url, stack_redis.url, **settings) as stack:
        yield stack


@pytest.mark.slow
def test_every_ball_is_returned_once_although_pools_and_the_reaper_are_killed(
    stack: Stack, client: Client
) -> None:
    made = client.post("/api/systems", json=PING_PONG)
    assert made.status_code == 201, made.text
    path = f"/api/systems/{made.json()['system']['id']}"
    chance = random.Random(SEED)
    balls = []
    for number in range(BALLS):
        body = {"to": "white", "kind": "query", "body": {"content": f"ball {number}"}}
        balls.append(client.post(f"{path}/messages", json=body).json()["message"]["id"])

    def caused(ball: str) -> list[dict[str, object]]:
        return list(client.get(f"{path}/messages/{ball}").json()["caused"])

    def done() -> int:
        return sum(one["status"] == "done" for ball in balls for one in caused(ball))

    for kill in range(1, KILLS + 1):
        enough = kill * BALLS * 2
        until(lambda: done() >= enough, 60, f"{enough} messages are handled")  # noqa: B023
        if chance.random() < 0.7:
            os.kill(stack.pool_process(), signal.SIGKILL)
        else:
            stack.kill("reaper")
            stack.mend()
    client.post(f"{path}/stop", json={"drain": True})
    until(lambda: client.get(path).json()["system"]["status"] == "stopped", 90, "all is handled")

    for number, ball in enumerate(balls):
        following = caused(ball)
        balls_seen = [one for one in following if one["to"] != "ledger" and not one["error"]]
        notes = [one["body"]["content"] for one in following if one["to"] == "ledger"]  # type: ignore[index]
        assert [one["hops"] for one in balls_seen] == [*range(1, HOPS + 2)]
        assert [one["status"] for one in balls_seen] == ["done"] * HOPS + ["dead"]
        assert [one["body"]["content"] for one in balls_seen] == [  # type: ignore[index]
            f"ball {number}" + "." * hop for hop in range(1, HOPS + 2)
        ]
        errors = [one for one in following if one["error"]]
        assert len(errors) == 1  # of the hop too many
        assert len(notes) == HOPS + 1 + len(errors)
