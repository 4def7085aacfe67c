"""Who has a token for some threads reads the passages that answers in these cite, and no others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from runtime.model import Role
from runtime.store import calls, messages, queued_messages, runs
from runtime.store.states import NewMessage
from tests.support.attempt import Attempt
from tests.support.knowledge import CATS, add, source
from tests.support.web import Client
from web.core import Core

CHATS = "/api/agent-chat/sessions"
Json = dict[str, Any]


class Library:
    """Ada's document about cats, of three passages."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.source = source(client)
        self.document = self.add(CATS)
        self.passages: list[Json] = self.read(client).json["items"]

    def add(self, text: str, name: str = "cats.md") -> str:
        return str(add(self.client, self.source, name, text).json["document"]["id"])

    def read(self, client: Client, document: str | None = None, **query: int) -> Any:
        path = f"/api/knowledge/sources/{self.source}/documents/{document or self.document}/passages"
        return client.get(path, query_string=query)

    def cited(self, *positions: int) -> dict[str, Any]:
        """The data of an answer that cites these passages."""
        return {"sources": [self.passages[position] for position in positions]}


Given = tuple[Client, Attempt]
"""Somebody with a token, and the run of a thread that it reaches."""


@pytest.fixture
def web_environ(web_environ: dict[str, str]) -> dict[str, str]:
    return {**web_environ, "PANEL_AGENTS": "rag=parrot"}


@pytest.fixture
def library(ada: Client) -> Library:
    return Library(ada)


def guest(app: Flask, token: str) -> Client:
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    return client


def subject(app: Flask, ada: Client, core: Core, name: str = "grace") -> Given:
    made = ada.post("/api/agent-chat/token", json={"subject": name}).json
    client = guest(app, made["token"])
    chat = client.post(CHATS, json={"agent_type": "rag"}).json["session_id"]
    sent = client.post(f"{CHATS}/{chat}/messages", json={"message": "What do cats eat?"})
    return client, Attempt(core, sent.json["run_id"])


def session(app: Flask, ada: Client, core: Core, scope: str = "read") -> Given:
    thread = ada.thread(worker_id="parrot")
    path = f"/api/threads/{thread['id']}/session"
    ada.post(path, json={})
    token = ada.post(f"{path}/token", json={"scope": scope}).json["token"]
    return guest(app, token), Attempt(core, ada.ask(thread).json["runs"][0]["id"])


BY = pytest.mark.parametrize("given", [subject, session], ids=["a subject", "a session"])


@BY
def test_what_is_cited_is_read_and_nothing_beside_it(
    app: Flask, library: Library, core: Core, given: Callable[..., Given]
) -> None:
    client, run = given(app, library.client, core)
    other = library.add("# Dogs\n\nThey bark.\n", "dogs.md")
    assert library.read(client).status_code == 404, "nothing is cited yet"
    run.say("Mice [1].", data=library.cited(1))

    assert library.read(client).json["items"] == [library.passages[1]]
    assert library.read(client, first=1, limit=1).json["items"] == [library.passages[1]]
    assert library.read(client, first=2).json["items"] == []
    assert library.read(client, other).status_code == 404
    assert library.read(library.client).json["items"] == library.passages
    for path in (
        "/api/knowledge/search?q=cats",
        f"/api/knowledge/sources/{library.source}/documents",
    ):
        assert client.get(path).status_code == 403


@BY
def test_what_other_threads_cite_is_not_read(
    app: Flask, library: Library, core: Core, given: Callable[..., Given]
) -> None:
    client, run = given(app, library.client, core)
    _, others = subject(app, library.client, core, "somebody else")
    others.say("Mice [1].", data=library.cited(1))

    assert library.read(client).status_code == 404
    run.say("They purr [1].", data=library.cited(0))
    assert library.read(client).json["items"] == [library.passages[0]]


@BY
def test_the_answers_of_sub_runs_count(
    app: Flask, library: Library, core: Core, given: Callable[..., Given]
) -> None:
    client, run = given(app, library.client, core)
    spec = runs.RunSpec("parrot", "digest", "exec", {}, None, max_attempts=3, timeout_seconds=60)
    limits, said = (
        calls.CallLimits(depth=5, in_all=100),
        [NewMessage(Role.USER, "Do it")],
    )
    made = core.database.write(calls.create, run.run, "a", "digest", said, spec, limits, taken=True)
    assert made is not None
    Attempt(core, made.run.id).say("Mice [1].", data=library.cited(1))

    assert library.read(client).json["items"] == [library.passages[1]]


def test_a_message_that_its_holder_has_written_cites_nothing(
    app: Flask, library: Library, core: Core
) -> None:
    client, run = session(app, library.client, core, "write")
    message = {"role": "assistant", "content": "Mice [1].", "data": library.cited(1)}
    thread = run.run.thread_id
    into_tree = {"parent_id": run.run.input_state_id, "messages": [message]}
    sent = client.post(f"/api/threads/{thread}/states", json=into_tree)
    queued = client.post(f"/api/runs/{run.run.id}/messages", json={"messages": [message]})
    assert [sent.status_code, queued.status_code] == [201, 202], (
        sent.text,
        queued.text,
    )
    core.database.write(take_queued, run)

    shown = client.get(f"/api/states/{run.run.output_state_id}/messages").json["items"]
    assert shown[-1]["content"] == "Mice [1].", "it is in the run's own state"
    assert library.read(client).status_code == 404


def take_queued(c: Any, run: Attempt) -> None:
    """As a pool does where the run's worker reads its inbox."""
    for position, message in enumerate(queued_messages.waiting(c, run.run.id)):
        messages.place(c, queued_messages.in_tree(message, run.run, position))


@pytest.mark.parametrize(
    "now",
    ["The key of the safe is under the mat", "The key is under the mat. A cat eats mice"],
    ids=["another", "grown"],
)
def test_what_has_taken_the_place_of_a_cited_passage_is_not_read(
    app: Flask, library: Library, core: Core, now: str
) -> None:
    client, run = subject(app, library.client, core)
    run.say("Mice [1], and they purr [2].", data=library.cited(1, 0))
    library.add(CATS.replace("A cat eats mice", now))

    assert [one["position"] for one in library.read(client).json["items"]] == [0]


def test_the_newest_answers_are_read_first_and_the_others_where_one_asks_for_more(
    app: Flask, library: Library, core: Core
) -> None:
    client, run = subject(app, library.client, core)
    run.say("They purr [1].", data=library.cited(0))
    run.say("Mice [1].", data=library.cited(1))

    for first, limit, positions in ((1, 1, [1]), (0, 1, [0]), (0, 3, [0, 1]), (9, 1, [])):
        items = library.read(client, first=first, limit=limit).json["items"]
        assert [one["position"] for one in items] == positions


def test_a_deleted_thread_cites_nothing(app: Flask, library: Library, core: Core) -> None:
    client, run = subject(app, library.client, core)
    run.say("Mice [1].", data=library.cited(1))
    assert library.read(client).status_code == 200
    library.client.delete(f"/api/threads/{run.run.thread_id}")

    assert library.read(client).status_code == 404


@pytest.mark.parametrize(
    "sources",
    [None, "all", [7], [{}], [{"document_id": 7}], {"document_id": "x"}],
    ids=str,
)
def test_sources_of_another_form_are_none(app: Flask, library: Library, core: Core, sources: Any) -> None:
    client, run = subject(app, library.client, core)
    empty = [
        {**library.passages[0], "text": ""},
        {**library.passages[0], "position": "0"},
        {**library.passages[0], "position": False},
    ]
    run.say("Hm.", data={"sources": sources, "document_id": library.document})
    run.say("Hm.", data={"sources": empty})

    assert library.read(client).status_code == 404
