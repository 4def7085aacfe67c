"""The shipped agents in agent chats, with a scripted server of models: what is seen, and a killed pool."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from runtime.settings import CHECKOUT
from runtime.testing.client import Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from runtime.testing.waiting import until
from tests.support.fake_model import FakeModel, chunk
from tests.support.scripted_agents import saying

WITHIN = 60.0
SESSIONS = "/api/agent-chat/sessions"
LEASES = "# Leases\n\nA lease is a claim.\n\n## Renewal\n\nA pool renews its lease each second.\n"


def _task(id: str, hours: float, *after: str) -> dict[str, Any]:
    return {
        "id": id,
        "title": "Do it",
        "description": "Well.",
        "estimate_hours": hours,
        "depends_on": after,
    }


ANSWERS = {
    "The last message": "How often is a lease renewed?",
    "You answer from": "Each second [1], as one says [9].",
    "You plan": json.dumps({"summary": "An export.", "tasks": [_task("T2", 3, "T1"), _task("T1", 2)]}),
    "You look after": json.dumps({"action": "write", "name": "guide.md"}),
    "Write the": "# Guide\n\nLong.\n",
    "Revise": "# Guide\n\nShort.\n",
}
"""What the model says, by what its instructions begin with."""


class Script:
    """Has the model answer; one of its answers may be held back."""

    def __init__(self, model: FakeModel) -> None:
        self.model = model
        self.held = ""
        """Which answer waits in its middle."""
        self.released = threading.Event()
        model.reply = self._reply

    def begin(self, held: str = "") -> None:
        self.model.requests.clear()
        self.held = held
        self.released.clear()

    def asked(self) -> list[str]:
        """For which answers it was asked, in order."""
        return [_kind(request) for request in list(self.model.requests)]

    def _reply(self, request: dict[str, Any]) -> Iterator[bytes]:
        kind = _kind(request)
        yield chunk({"role": "assistant", "content": ""})
        if kind == self.held:
            assert self.released.wait(WITHIN), f"{kind} is held for too long"
        answer = ANSWERS[kind]
        yield from saying(answer.replace("write", "revise") if "Make it" in _last(request) else answer)


def _last(request: dict[str, Any]) -> str:
    return str(request["messages"][-1]["content"])


def _kind(request: dict[str, Any]) -> str:
    system = str(request["messages"][0]["content"])
    return next(kind for kind in ANSWERS if system.startswith(kind))


@pytest.fixture(scope="module")
def script() -> Iterator[Script]:
    with closing(FakeModel()) as model:
        script = Script(model)
        yield script
        script.released.set()


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory,
    stack_redis: RedisServer,
    stack_database_url: str,
    script: Script,
) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("stack")
    for worker in ("rag_agent", "task_agent", "document_agent"):
        shutil.copytree(CHECKOUT / "workers" / worker, home / "workers" / worker)
    more = {
        "OPENAI_API_KEY": "sk-test",
        "OPENAI_BASE_URL": f"{script.model.url}/v1",
        "BRANCHLINE_RUN_RETRY_BACKOFF": "0",
        "BRANCHLINE_POOL_LEASE": "4",
        "BRANCHLINE_POOL_RENEW": "1",
        "WORKERS_PATH": f"{home}/workers",
    }
    with Stack(home, stack_database_url, stack_redis.url, **more) as stack:
        yield stack


@pytest.fixture
def client(stack: Stack) -> Iterator[Client]:
    with closing(stack.client()) as client:
        yield client


def begin(client: Client, agent_type: str) -> str:
    made = client.post(SESSIONS, json={"agent_type": agent_type}).raise_for_status()
    return f"{SESSIONS}/{made.json()['session_id']}"


def send(client: Client, chat: str, message: str, **context: Any) -> dict[str, Any]:
    """A message to the agent; the run that answers it."""
    body = {"message": message, "context": context or None}
    return {"id": client.post(f"{chat}/messages", json=body).raise_for_status().json()["run_id"]}


def answered(client: Client, run: dict[str, Any]) -> list[dict[str, Any]]:
    """What the agent has said."""
    result = client.wait(run, WITHIN)
    assert result["run"]["status"] == "success", result["run"]["error"]
    messages: list[dict[str, Any]] = result["messages"]
    return messages


def kill_when(stack: Stack, script: Script, asked: list[str]) -> None:
    """Kill the pool once the model was asked for these answers, of which the last one is held."""
    until(lambda: script.asked() == asked, WITHIN, f"{asked} are under way")
    os.kill(stack.pool_process(), signal.SIGKILL)
    until(lambda: script.asked() == [*asked, asked[-1]], WITHIN, f"{asked[-1]} is asked for again")
    script.released.set()


@pytest.fixture
def knowledge(client: Client) -> None:
    path = "/api/knowledge/sources"
    made = client.post(path, json={"name": "docs"}).raise_for_status().json()
    files = {"file": ("leases.md", LEASES.encode())}
    client.post(f"{path}/{made['source']['id']}/documents", files=files).raise_for_status()


@pytest.mark.usefixtures("knowledge")
def test_an_answer_cites_passages_that_open_and_a_killed_pool_repeats_no_answer(
    stack: Stack, client: Client, script: Script
) -> None:
    script.begin()
    chat = begin(client, "rag")
    [first] = answered(client, send(client, chat, "What is a lease?", match_count=2, source_filter="docs"))
    assert first["content"] == "Each second [1], as one says."
    [source] = first["data"]["sources"]
    passages = f"/api/knowledge/sources/{source['source_id']}/documents/{source['document_id']}/passages"
    opened = client.get(passages, params={"first": source["position"], "limit": 1}).json()["items"]
    assert [(one["text"], one["titles"]) for one in opened] == [(source["text"], source["titles"])]

    script.begin(held="You answer from")
    run = send(client, chat, "How often is it renewed?")
    kill_when(stack, script, ["The last message", "You answer from"])

    assert answered(client, run)[-1]["content"] == first["content"]
    assert script.asked() == ["The last message", "You answer from", "You answer from"]
    tokens = client.run(run)["usage"]
    assert (tokens["input_tokens"], tokens["output_tokens"]) == (20, 4), "each answer is paid for once"
    shown = client.get(chat).json()["messages"]
    assert [one["sender"] for one in shown] == ["user", "agent", "user", "agent"]


def test_where_nothing_is_found_that_is_said(client: Client, script: Script) -> None:
    script.begin()
    [said] = answered(client, send(client, begin(client, "rag"), "What is a lease?"))
    assert said["content"] == "I have found nothing about this in the knowledge base."
    assert script.asked() == []


def test_a_plan_of_tasks_is_listed_and_has_its_data(client: Client, script: Script) -> None:
    script.begin()
    run = send(client, begin(client, "task"), "Export.", project_id="p1", detail_level="low")
    [said] = answered(client, run)
    assert "- **T2 Do it** (3 h, ← T1): Well." in said["content"] and "n1 --> n2" in said["content"]
    assert (said["data"]["project_id"], said["data"]["longest_chain"]) == ("p1", ["T1", "T2"])


def test_versions_of_a_document_are_files_and_none_is_replaced_unasked(
    client: Client, script: Script
) -> None:
    script.begin()
    chat = begin(client, "document")
    *_, first = answered(client, send(client, chat, "Write a guide.", style="dry"))
    assert (first["data"]["document"], contents(client, first)) == (
        {"name": "guide.md", "version": 1},
        {"guide-v1.md": "# Guide\n\nLong.\n"},
    )

    script.begin()
    run = send(client, chat, "Make it short.")
    until(lambda: client.run(run)["status"] == "waiting", WITHIN, "it asks")
    question = client.run(run)["confirmation"]
    assert question["prompt"] == "Replace guide.md, version 1, by version 2?"
    client.post(f"/api/runs/{run['id']}/answer", json={"answer": "Replace"}).raise_for_status()

    *_, second = answered(client, run)
    made = contents(client, second)
    assert list(made) == ["guide-v2.md", "guide-v2.diff"] and made["guide-v2.md"] == "# Guide\n\nShort.\n"
    assert made["guide-v2.diff"].endswith("-Long.\n+Short.\n")
    assert script.asked() == ["You look after", "Revise"], "nothing is asked again behind the answer"


def contents(client: Client, message: dict[str, Any]) -> dict[str, str]:
    """The files of a message, by name."""
    return {
        file["name"]: client.get(f"/api/files/{file['id']}/content").raise_for_status().text
        for file in message["files"]
    }
