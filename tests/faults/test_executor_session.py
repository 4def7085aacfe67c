"""A session of an executor, with a scripted server of models: it goes on until the goal is reached."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from runtime.settings import CHECKOUT
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from runtime.testing.waiting import until
from tests.support.fake_model import FakeModel, chunk
from tests.support.scripted_agents import GOAL, saying

pytestmark = pytest.mark.slow

WITHIN = 60.0
REASON = "The tides are mapped."


@pytest.fixture(scope="module")
def model() -> Iterator[FakeModel]:
    """Its third turn finds that the goal is reached."""
    with closing(FakeModel()) as model:

        def reply(request: dict[str, Any]) -> Iterator[bytes]:
            said = request["messages"]
            turn = sum(one["role"] == "user" for one in said)
            if turn < 3 or said[-1]["role"] == "tool":
                return iter(saying(f"Sea {turn} is mapped."))
            function = {"name": "finish", "arguments": f'{{"reason": "{REASON}"}}'}
            call = {"index": 0, "id": "a", "function": function}
            return iter([chunk({"tool_calls": [call]}), chunk({}, finish="tool_calls")])

        model.reply = reply
        yield model


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory,
    stack_redis: RedisServer,
    stack_database_url: str,
    model: FakeModel,
) -> Iterator[Stack]:
    more = {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": f"{model.url}/v1"}
    workers = str(CHECKOUT / "workers")
    home = tmp_path_factory.mktemp("stack")
    with Stack(home, stack_database_url, stack_redis.url, WORKERS_PATH=workers, **more) as stack:
        yield stack


def test_a_session_of_an_executor_ends_when_the_goal_is_reached(stack: Stack) -> None:
    with closing(stack.client()) as client:
        made = client.post("/api/threads", json={"worker_id": "executor_agent"}).json()
        path = f"/api/threads/{made['thread']['id']}/session"
        client.post(path, json={"auto": {"enabled": True}, "limits": {"max_turns": 10}})
        client.post(f"{path}/messages", json={"messages": [{"role": "user", "content": GOAL}]})

        def stopped() -> dict[str, Any] | None:
            session = client.get(path).json()["session"]
            return session if session["status"] == "stop" else None

        session = until(stopped, within=WITHIN)
        page = client.get(f"/api/states/{session['tip_state_id']}/messages").json()["items"]

    assert (session["turn"], session["stop_reason"]) == (3, {"code": "finished", "message": REASON})
    assert page[-1]["content"] == "Sea 3 is mapped."
