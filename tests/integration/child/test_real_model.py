"""The main job with a real model: openai_worker against a llama.cpp server with one slot.

The model is small and not asked to make sense; how long its answers are is asked
for in tokens, and it keeps to that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from runtime.testing.client import Client
from runtime.testing.ports import free_port
from runtime.testing.redis_server import RedisServer
from runtime.testing.sse import Text
from runtime.testing.stack import Stack
from runtime.testing.waiting import until
from tests.support import llama as llama_server
from tests.support.llama import Llama

pytestmark = [pytest.mark.real_model, pytest.mark.slow]

QUESTION = "Tell me about the sea."


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Llama]:
    llama_server.need()
    with Llama(tmp_path_factory.mktemp("llama")) as llama:
        yield llama


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer, llama: Llama
) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("stack")
    settings = {
        "OPENAI_API_KEY": "this-server-wants-none",
        "OPENAI_BASE_URL": llama.url,
        "OPENAI_MODEL": "gemma-3-270m",
        "OPENAI_PRIVATE_BASE_URLS": "true",
        "BRANCHLINE_RUN_RETRY_BACKOFF": "0.1",
        "BRANCHLINE_RUN_MAX_ATTEMPTS": "2",
    }
    with Stack(home, f"sqlite:///{home}/branchline.db", redis_server.url, **settings) as stack:
        yield stack


@pytest.fixture
def client(stack: Stack) -> Iterator[Client]:
    with_account = stack.client()
    yield with_account
    with_account.close()


def ask(client: Client, thread: dict, text: str = QUESTION, state: str | None = None, **config: Any) -> dict:
    return client.ask(thread, text, state, worker_id="openai_worker", config={"max_tokens": 12, **config})


def test_tokens_stream_and_the_stored_message_is_what_they_add_up_to(client):
    asked = ask(client, client.thread(), max_tokens=24)
    events = client.follow(asked["runs"][0])
    text = Text()
    for event in events:
        text.apply(event)

    result = client.wait(asked["runs"][0])
    [message] = result["messages"]
    deltas = [event.data["text"] for event in events if event.type == "message.delta"]
    assert result["run"]["status"] == "success"
    assert len(deltas) > 5
    assert message["content"] == "".join(deltas) == text.messages[message["id"]]
    assert (message["role"], message["status"]) == ("assistant", "complete")


def test_the_words_arrive_while_the_model_still_speaks(client, llama):
    [run] = ask(client, client.thread(), max_tokens=200)["runs"]
    with client.stream(f"/api/runs/{run['id']}/events") as events:
        next(event for event in events if event.type == "message.delta")
        assert llama.busy()
    client.post(f"/api/runs/{run['id']}/cancel", json={"wait": 10})


def test_usage_is_reported(client):
    result = client.wait(ask(client, client.thread(), max_tokens=9)["runs"][0])

    assert result["run"]["usage"]["output_tokens"] == 9
    assert result["run"]["usage"]["input_tokens"] > 5


def test_an_edited_question_is_answered_anew_and_both_branches_stay(client):
    thread = client.thread()
    first = ask(client, thread, "Tell me about the sea.", temperature=0)
    client.wait(first["runs"][0])
    second = ask(client, thread, "Tell me about the desert.", thread["root_state_id"], temperature=0)
    client.wait(second["runs"][0])

    branches = [
        client.get(f"/api/states/{asked['states'][0]['id']}/messages").json() for asked in (first, second)
    ]
    questions = [branch["items"][0]["content"] for branch in branches]
    answers = [branch["items"][1]["content"] for branch in branches]
    assert questions == ["Tell me about the sea.", "Tell me about the desert."]
    assert all(answers) and answers[0] != answers[1]
    assert branches[1]["states"][second["input_state"]["id"]]["sibling_count"] == 2


def test_a_cancelled_run_keeps_what_was_said_and_frees_the_slot(client, llama):
    thread = client.thread()
    [run] = ask(client, thread, max_tokens=1500)["runs"]
    text = Text()
    with client.stream(f"/api/runs/{run['id']}/events") as events:
        for event in events:
            text.apply(event)
            if event.type == "message.delta" and event.data["n"] == 3:
                answer = client.post(f"/api/runs/{run['id']}/cancel")
                assert answer.status_code == 202

    until(lambda: not llama.busy(), what="the slot is free")
    result = client.wait(run)
    [message] = result["messages"]
    assert result["run"]["status"] == "cancelled"
    assert message["status"] == "partial"
    assert message["content"] == text.messages[message["id"]]
    next_one = client.wait(ask(client, thread, max_tokens=8)["runs"][0])
    assert next_one["run"]["status"] == "success"


def test_a_server_that_is_not_there_is_worth_another_try(client):
    nobody = f"http://127.0.0.1:{free_port()}/v1"
    result = client.wait(ask(client, client.thread(), base_url=nobody)["runs"][0])

    assert (result["run"]["status"], result["run"]["attempt"]) == ("error", 2)
    assert "gave no answer as a server of models does" in result["run"]["error"]["message"]
    assert result["run"]["error"]["retryable"] is True


def test_an_address_without_the_api_is_no_use_asking_twice(client, llama):
    result = client.wait(ask(client, client.thread(), base_url=f"{llama.address}/elsewhere")["runs"][0])

    assert (result["run"]["status"], result["run"]["attempt"]) == ("error", 1)
    assert "does not have the model 'gemma-3-270m'" in result["run"]["error"]["message"]
    assert result["run"]["error"]["retryable"] is False


def test_a_question_that_is_too_long_says_so(client):
    question = "word " * (2 * llama_server.CONTEXT)
    result = client.wait(ask(client, client.thread(), question)["runs"][0])

    assert (result["run"]["status"], result["run"]["attempt"]) == ("error", 1)
    assert "exceeds the available context size" in result["run"]["error"]["message"]
    assert result["run"]["error"]["retryable"] is False


def test_a_session_stops_after_the_turn_that_reaches_its_budget_of_tokens(client):
    thread = client.thread(worker_id="openai_worker", config={"max_tokens": 12, "temperature": 2})
    path = f"/api/threads/{thread['id']}/session"
    begun = {"auto": {"enabled": True, "prompt": "Go on with the story."}, "limits": {"max_tokens": 200}}
    client.post(path, json=begun).raise_for_status()

    def stopped() -> dict | None:
        session = client.get(path).json()["session"]
        return session if session["status"] == "stop" else None

    def used() -> list[int]:
        runs = client.get("/api/runs", params={"thread": thread["id"]}).json()["items"]
        runs.sort(key=lambda run: run["turn"])
        return [run["usage"]["input_tokens"] + run["usage"]["output_tokens"] for run in runs]

    message = {"role": "user", "content": "Tell me a story of a ship, word by word."}
    client.post(f"{path}/messages", json={"messages": [message]}).raise_for_status()
    session = until(stopped, 60, "the session stops")
    assert session["stop_reason"]["code"] == "max_tokens"
    turns = used()
    assert len(turns) == session["turn"] == 3, (turns, session)
    assert sum(turns[:-1]) < 200 <= sum(turns) == session["used"]["tokens"]

    client.patch(path, json={"limits": {"max_tokens": sum(turns) + 1}}).raise_for_status()
    client.post(f"{path}/resume").raise_for_status()
    session = until(stopped, 60, "it stops after one more")
    assert session["stop_reason"]["code"] == "max_tokens"
    assert session["used"]["tokens"] == sum(used()) > sum(turns)
