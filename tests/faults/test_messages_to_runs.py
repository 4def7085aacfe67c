"""Messages to runs that are under way, while processes die: each is in the conversation once."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from runtime.testing.client import Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from runtime.testing.waiting import until
from tests.support.reader import Reader

pytestmark = pytest.mark.timeout(180)

QUICK = {
    "BRANCHLINE_POOL_LEASE": "8",
    "BRANCHLINE_POOL_RENEW": "1",
    "BRANCHLINE_POOL_DRAIN": "0.5",
    "BRANCHLINE_RUN_RETRY_BACKOFF": "0",
    "BRANCHLINE_RUN_MAX_ATTEMPTS": "20",
}
THREADS, MESSAGES, KILLS = 8, 4, 5


@pytest.fixture(scope="module")
def whole_stack(
    tmp_path_factory: pytest.TempPathFactory, stack_redis: RedisServer, stack_database_url: str
) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("stack")
    with Stack(home, stack_database_url, stack_redis.url, **QUICK) as stack:
        yield stack


@pytest.fixture
def stack(whole_stack: Stack) -> Stack:
    whole_stack.mend()
    return whole_stack


def ask(client: Client, **config: Any) -> dict[str, Any]:
    """A run of a worker that does as its config says."""
    asked = client.ask(client.thread(), "Go", worker_id="fake", config={"text": "On I go. ", **config})
    return dict(asked["runs"][0])


def send(client: Client, run: dict[str, Any], text: str) -> bool:
    """Send a message until the server has accepted or refused it, whatever dies meanwhile."""
    body = {"messages": [{"role": "user", "content": text}]}
    while True:
        try:
            sent = client.post(
                f"/api/runs/{run['id']}/messages", json=body, headers={"Idempotency-Key": text}
            )
        except httpx.TransportError:
            time.sleep(0.05)
            continue
        if sent.status_code in (202, 409):
            return sent.status_code == 202
        time.sleep(0.05)


def texts(client: Client, run: dict[str, Any]) -> list[str]:
    return [message["content"] for message in client.wait(run)["messages"]]


def runs_of(client: Client, run: dict[str, Any]) -> list[dict[str, Any]]:
    """The runs of its thread, oldest first."""
    listed = client.get("/api/runs", params={"thread": run["thread_id"], "limit": 100}).json()["items"]
    return list(reversed(listed))


def test_a_worker_reads_what_is_sent_to_it_while_it_works(
    stack: Stack, client: Client, tmp_path: Path
) -> None:
    begin = tmp_path / "begin"
    run = ask(client, mode="listen", path=str(begin))
    reader = Reader(client, run)
    until(lambda: client.run(run)["status"] == "running")
    sent = client.post(
        f"/api/runs/{run['id']}/messages", json={"messages": [{"role": "user", "content": "Hurry!"}]}
    ).json()["messages"]
    begin.touch()

    events = reader.wait()

    assert texts(client, run) == ["On I go. ", "Hurry!", "I read Hurry!. "]
    [delivered] = [event.data for event in events if event.type == "run.message_delivered"]
    assert delivered["message_id"] == sent[0]["id"]
    assert list(reader.text.messages.values()) == texts(client, run)


def test_what_nobody_reads_begins_the_next_run_at_once(stack: Stack, client: Client, tmp_path: Path) -> None:
    begin = tmp_path / "begin"
    run = ask(client, mode="gate", path=str(begin))
    until(lambda: client.run(run)["status"] == "running")
    assert send(client, run, f"one {run['id']}")
    begin.touch()

    client.wait(run)
    ended_at = time.monotonic()
    until(lambda: len(runs_of(client, run)) == 2)
    took = time.monotonic() - ended_at

    begun = runs_of(client, run)[1]
    assert client.wait(begun)["run"]["status"] == "success"
    assert took < 5  # at once; a machine that is busy takes its time


@pytest.mark.parametrize(
    "after", [pytest.param(0.001, marks=pytest.mark.slow), 0.01, pytest.param(0.05, marks=pytest.mark.slow)]
)
def test_a_message_is_in_the_conversation_once_though_its_pool_is_killed_while_it_is_delivered(
    stack: Stack, client: Client, tmp_path: Path, after: float
) -> None:
    begin = tmp_path / "begin"
    run = ask(client, mode="listen", path=str(begin), gap=after)
    assert send(client, run, f"Hurry! {run['id']}")
    begin.touch()

    assert texts(client, run) == ["On I go. ", f"Hurry! {run['id']}", f"I read Hurry! {run['id']}. "]
    assert client.run(run)["attempt"] == 2
    assert len(runs_of(client, run)) == 1


@pytest.mark.slow
def test_each_message_is_in_one_place_under_kills_of_every_process(
    stack: Stack, client: Client, tmp_path: Path
) -> None:
    """Half of the workers listen, the others leave all messages to the next run."""
    seed = random.randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)
    begin = tmp_path / "begin"
    steered = [
        ask(client, mode="listen" if number % 2 else "gate", path=str(begin), count=20)
        for number in range(THREADS)
    ]
    accepted: dict[str, list[str]] = {run["thread_id"]: [] for run in steered}

    def steer(run: dict[str, Any]) -> None:
        for number in range(MESSAGES):
            text = f"{number} to {run['id']}"
            if send(client, run, text):
                accepted[run["thread_id"]].append(text)

    users = [threading.Thread(target=steer, args=(run,)) for run in steered]
    for user in users:
        user.start()
    begin.touch()
    for _ in range(KILLS):
        kill(stack, rng.choice(("web", "pool", "pool", "reaper")))
        time.sleep(rng.uniform(0, 0.3))
    stack.mend()
    for user in users:
        user.join(60)
        assert not user.is_alive()

    until(lambda: all_is_over(client, steered), 90, "all runs have ended, and nothing waits")
    for run in steered:
        begun = runs_of(client, run)
        said = Counter(conversation(client, begun))
        assert [said[text] for text in accepted[run["thread_id"]]] == [1] * len(accepted[run["thread_id"]]), (
            seed, accepted[run["thread_id"]], said,
        )  # fmt: skip
        parents = Counter(parent_of(client, one) for one in begun)
        assert max(parents.values()) == 1, (seed, "a run was begun twice")


def kill(stack: Stack, which: str) -> None:
    if which == "pool":
        os.kill(stack.pool_process(), signal.SIGKILL)
    else:
        stack.kill(which)
        stack.start(which)


def all_is_over(client: Client, steered: list[dict[str, Any]]) -> bool:
    try:
        return all(
            one["status"] == "success" and not client.get(f"/api/runs/{one['id']}/messages").json()["items"]
            for run in steered
            for one in runs_of(client, run)
        )
    except httpx.TransportError:  # a connection to a process that was killed
        return False


def parent_of(client: Client, run: dict[str, Any]) -> str:
    state = client.get(f"/api/states/{run['input_state_id']}").json()["state"]
    return str(state["parent_id"])


def conversation(client: Client, begun: list[dict[str, Any]]) -> list[str]:
    """What users have said in the states of these runs."""
    ids = [state for run in begun for state in (run["input_state_id"], run["output_state_id"])]
    states = [client.get(f"/api/states/{state}").json()["state"] for state in ids]
    return [
        message["content"] for state in states for message in state["messages"] if message["role"] == "user"
    ]
