"""A crew of depth 2 and width 3 whose pool is killed, and one that is cancelled: what is asked of models.

The ledger of the server of models has every request. What was answered and saved is not asked again;
what was under way when the pool died is.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from runtime.settings import CHECKOUT
from runtime.testing.client import Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from runtime.testing.waiting import until
from tests.support.fake_model import FakeModel, chunk
from tests.support.scripted_agents import GOAL, asked, decision, member, plan, saying

pytestmark = pytest.mark.slow

WITHIN = 60.0
REFUSED = b'data: {"error": {"message": "No such sea.", "type": "invalid_request_error"}}\n\n'
EXPECTED = {
    "plan above": 1, "north": 1, "east": 1, "plan below": 1, "bay": 1, "cape": 1, "isle": 1,
    "judge below": 1, "judge above": 1,
}  # fmt: skip
"""The requests of a crew that nothing happens to."""


class Script:
    """Answers the members of the crew, each when it may."""

    def __init__(self, model: FakeModel) -> None:
        self.model = model
        self.held: dict[str, threading.Event] = {}
        model.reply = self.reply

    def begin(self, *held: str) -> None:
        """Begin anew; these requests are answered once :meth:`release` says so."""
        self.model.requests.clear()
        self.model.hung_up.clear()
        self.held = {label: threading.Event() for label in held}

    def release(self) -> None:
        for event in self.held.values():
            event.set()

    @property
    def ledger(self) -> Counter[str]:
        return Counter(map(label, list(self.model.requests)))

    def reply(self, request: dict[str, Any]) -> Iterator[bytes]:
        said = label(request)
        event = self.held.get(said)
        yield chunk({"role": "assistant", "content": ""})
        if event is not None:
            assert event.wait(WITHIN), f"{said} is held for too long"
        if said == "east":
            yield REFUSED
            return
        yield from saying(ANSWERS.get(said, f"found {said}"))


ANSWERS = {
    "plan above": plan("north", "south", "east", split=("south",)),
    "plan below": plan("bay", "cape", "isle"),
    "judge below": decision("answer", "The south is mapped."),
    "judge above": decision("answer", "All but the east is mapped."),
}


def label(request: dict[str, Any]) -> str:
    """Which request of the crew it is."""
    text, who = asked(request), member(request)
    if who == "executor":
        return text.rpartition("Your task: ")[2].splitlines()[0]
    what = "plan" if who == "planner" else "judge"
    return f"{what} {'below' if 'Your task: south' in text else 'above'}"


@pytest.fixture(scope="module")
def script() -> Iterator[Script]:
    script = Script(FakeModel())
    yield script
    script.release()
    script.model.close()


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory,
    stack_redis: RedisServer,
    stack_database_url: str,
    script: Script,
) -> Iterator[Stack]:
    more = {
        "OPENAI_API_KEY": "sk-test",
        "OPENAI_BASE_URL": f"{script.model.url}/v1",
        "BRANCHLINE_RUN_RETRY_BACKOFF": "0",
    }
    home = tmp_path_factory.mktemp("stack")
    workers = str(CHECKOUT / "workers")
    with Stack(home, stack_database_url, stack_redis.url, WORKERS_PATH=workers, **more) as stack:
        yield stack


def start(client: Client) -> dict[str, Any]:
    """A crew at work."""
    config = {"depth": 2, "width": 3}
    run: dict[str, Any] = client.ask(client.thread(), GOAL, worker_id="crew_agent", config=config)["runs"][0]
    return run


def below(client: Client, run: dict[str, Any]) -> list[dict[str, Any]]:
    """All sub-runs below a run."""
    children = client.get(f"/api/runs/{run['id']}/children").json()["items"]
    return [*children, *(one for child in children for one in below(client, child))]


def statuses(client: Client, run: dict[str, Any]) -> Counter[str]:
    return Counter(one["status"] for one in below(client, run))


def checklist(result: dict[str, Any]) -> list[tuple[str, str]]:
    [shown] = [one for one in result["messages"] if "checklist" in one["data"]]
    return [(task["title"], task["status"]) for task in shown["data"]["checklist"]]


@pytest.mark.parametrize(
    ("under_way", "ended"),
    [
        pytest.param("plan above", 0, id="planner", marks=pytest.mark.soak),
        pytest.param("cape", 6, id="executor"),
        pytest.param("judge below", 7, id="supervisor_below", marks=pytest.mark.soak),
        pytest.param("judge above", 9, id="supervisor", marks=pytest.mark.soak),
    ],
)
def test_a_crew_whose_pool_is_killed_asks_again_for_what_was_under_way_alone(
    stack: Stack, client: Client, script: Script, under_way: str, ended: int
) -> None:
    script.begin(under_way)
    run = start(client)
    over = lambda: sum(statuses(client, run)[status] for status in ("success", "error"))  # noqa: E731
    until(
        lambda: script.ledger[under_way] == 1 and over() == ended, WITHIN, f"{under_way} alone is under way"
    )

    os.kill(stack.pool_process(), signal.SIGKILL)
    until(lambda: script.ledger[under_way] == 2, WITHIN, f"{under_way} is asked for again")
    script.release()
    result = client.wait(run, WITHIN)

    assert (result["run"]["status"], result["messages"][-1]["content"]) == (
        "success",
        "All but the east is mapped.",
    )
    assert script.ledger == {**EXPECTED, under_way: 2}
    assert checklist(result) == [("north", "success"), ("south", "success"), ("east", "error")]
    assert statuses(client, run) == {"success": 9, "error": 1}
    tokens = client.run(run)["usage_below"]
    assert (tokens["input_tokens"], tokens["output_tokens"]) == (80, 16), "each answer is paid for once"


def test_a_crew_that_is_cancelled_leaves_nothing_alive(stack: Stack, client: Client, script: Script) -> None:
    script.begin("north", "east", "bay", "cape", "isle")
    run = start(client)
    until(lambda: len(script.ledger) == 7, WITHIN, "all executors are at work")
    assert statuses(client, run)["success"] == 2
    client.post(f"/api/runs/{run['id']}/cancel").raise_for_status()
    assert client.wait(run, WITHIN)["run"]["status"] == "cancelled"

    ended = {"success": 2, "cancelled": 6}
    until(lambda: statuses(client, run) == ended, WITHIN, "all that is below it has ended")

    def busy() -> int:
        workers = client.get("/api/workers").json()["items"]
        return int(next(one["busy"] for one in workers if one["id"] == "crew_agent"))

    until(lambda: busy() == 0, WITHIN, "no slot is taken")
    script.release()
    assert script.model.hung_up.wait(WITHIN), "whoever asked has gone"
    assert set(script.ledger.values()) == {1} and len(script.ledger) == 7
