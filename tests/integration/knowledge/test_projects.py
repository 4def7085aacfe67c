"""Sources are labelled with projects: what searches for one of them sees no source of another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.settings import Settings
from runtime.store import tables
from runtime.tokens import run_token
from tests.support.attempt import Attempt
from tests.support.knowledge import DOGS, add, found, source
from tests.support.web import Client, write_worker
from web.core import Core

CHATS = "/api/agent-chat/sessions"
Search = Callable[..., Any]


@pytest.fixture
def worker_folder(tmp_path: Path) -> Path:
    """A worker: ``parrot``, which may search."""
    folder = tmp_path / "workers"
    write_worker(folder, "parrot", 'grants = ["knowledge"]')
    return folder


@pytest.fixture
def web_environ(web_environ: dict[str, str]) -> dict[str, str]:
    return {**web_environ, "PANEL_AGENTS": "rag=parrot"}


@pytest.fixture
def sources(ada: Client) -> dict[str, str]:
    """Three sources with the same document: of a project, of another one, and of none; by their names."""
    made = {
        "cats": source(ada, "cats", project_id="cats"),
        "dogs": source(ada, "dogs", project_id="dogs", language="german"),
        "all": source(ada, "all"),
    }
    for source_id in made.values():
        add(ada, source_id, "dogs.md", DOGS)
    return made


@pytest.fixture
def search(nobody: Client, core: Core, web_settings: Settings) -> Search:
    """Searches as a run; or adds a document, if it has ``text``."""
    begun: dict[str, Attempt] = {}

    def asked(run_id: str, text: str | None = None, **query: str) -> Any:
        if run_id not in begun:
            begun[run_id] = Attempt(core, run_id)
        token = run_token(web_settings, run_id, begun[run_id].run.attempt, ["knowledge"])
        path, headers = f"/worker/runs/{run_id}", {"Authorization": f"Bearer {token}"}
        if text is not None:
            given = {"name": "new.md", **query}
            return nobody.post(f"{path}/documents", query_string=given, data=text.encode(), headers=headers)
        return nobody.get(f"{path}/search", query_string={"q": "postman", **query}, headers=headers)

    return asked


def names(items: list[dict[str, Any]]) -> set[str]:
    return {one["source"] for one in items}


def test_a_search_of_a_project_sees_its_sources_and_those_of_none(
    ada: Client, sources: dict[str, str]
) -> None:
    assert names(found(ada, "postman")) == {"cats", "dogs", "all"}
    assert names(found(ada, "postman", project_id="cats")) == {"cats", "all"}
    assert names(found(ada, "postman", project_id="dogs")) == {"dogs", "all"}
    assert names(found(ada, "postman", project_id="birds")) == {"all"}
    assert names(found(ada, "postman", project_id="cats", source=sources["cats"])) == {"cats"}
    foreign = {"q": "postman", "project_id": "cats", "source": sources["dogs"]}
    assert ada.get("/api/knowledge/search", query_string=foreign).status_code == 404

    listed = ada.get("/api/knowledge/sources?project_id=cats").json["items"]
    assert [(one["name"], one["project_id"]) for one in listed] == [("cats", "cats")]


@pytest.mark.parametrize(
    ("project_id", "seen"), [("cats", {"cats", "all"}), (None, {"all"})], ids=["label", "none"]
)
def test_a_run_of_a_chat_sees_what_its_project_sees(
    ada: Client, core: Core, sources: dict[str, str], search: Search, project_id: str | None, seen: set[str]
) -> None:
    session_id = ada.post(CHATS, json={"agent_type": "rag", "project_id": project_id}).json["session_id"]
    run_id = ada.post(f"{CHATS}/{session_id}/messages", json={"message": "Hello"}).json["run_id"]

    assert names(search(run_id).json["items"]) == seen
    assert search(run_id, source="dogs").status_code == 404
    assert search(run_id, text="# New", source="dogs").status_code == 404
    assert search(run_id, text="# New", source="all").status_code == 201


def test_a_run_of_no_chat_sees_all_and_one_that_a_chat_has_called_what_that_sees(
    ada: Client, core: Core, sources: dict[str, str], search: Search
) -> None:
    thread = ada.thread()
    run_id = ada.ask(thread, worker_id="parrot").json["runs"][0]["id"]
    assert names(search(run_id).json["items"]) == {"cats", "dogs", "all"}

    session_id = ada.post(CHATS, json={"agent_type": "rag", "project_id": "dogs"}).json["session_id"]
    chat = ada.get(f"{CHATS}/{session_id}").json
    with core.database.engine.connections.begin() as c:
        this = tables.threads.c.id == thread["id"]
        c.execute(tables.threads.update().where(this).values(called_from=chat["thread_id"]))

    assert names(search(run_id).json["items"]) == {"dogs", "all"}
