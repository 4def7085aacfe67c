"""A pool ends in the middle of a model's answer: no token is generated twice, and none shown twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from runtime.settings import CHECKOUT
from runtime.testing.client import Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from runtime.testing.waiting import until
from tests.support.reader import Reader
from tests.support.responses import THOUGHT, TOKENS, USAGE, Provider

ANSWER = "".join(TOKENS)


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.close()


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory,
    stack_redis: RedisServer,
    stack_database_url: str,
    provider: Provider,
) -> Iterator[Stack]:
    more = {
        "OPENAI_API_KEY": "sk-test",
        "OPENAI_BASE_URL": provider.url,
        "BRANCHLINE_POOL_DRAIN": "0.5",
        "BRANCHLINE_RUN_RETRY_BACKOFF": "0",
    }
    home = tmp_path_factory.mktemp("stack")
    workers = str(CHECKOUT / "workers")
    with Stack(home, stack_database_url, stack_redis.url, WORKERS_PATH=workers, **more) as stack:
        yield stack


@pytest.mark.parametrize("how", ["killed", pytest.param("terminated", marks=pytest.mark.slow)])
def test_an_answer_of_a_provider_outlives_its_pool(
    stack: Stack, client: Client, provider: Provider, how: str
) -> None:
    provider.reset()
    provider.allow(len(THOUGHT) + 5)
    config = {"api": "responses"}
    run = client.ask(client.thread(), "Hello", worker_id="openai_worker", config=config)["runs"][0]
    reader = Reader(client, run)
    until(lambda: "".join(TOKENS[:5]) in reader.text.messages.values(), what="the answer is half shown")

    if how == "killed":
        os.kill(stack.pool_process(), signal.SIGKILL)
    else:
        stack.kill("pool python", signal.SIGTERM)
        stack.start("pool python")
    provider.allow(len(TOKENS))
    events = reader.wait()

    result = client.wait(run)
    assert (result["run"]["status"], result["run"]["failures"]) == ("success", int(how == "killed"))
    assert result["run"]["usage"]["output_tokens"] == USAGE["output_tokens"]
    assert [message["content"] for message in result["messages"]] == ["".join(THOUGHT), ANSWER]
    shown = [event.data["text"] for event in events if event.type == "message.delta"]
    assert "".join(shown) == "".join(THOUGHT) + ANSWER
    assert (provider.ledger, provider.cancelled) == ([*THOUGHT, *TOKENS], [])
    assert sum(event.type == "message.created" for event in events) == 2
