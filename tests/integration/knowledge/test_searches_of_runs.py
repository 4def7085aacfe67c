"""A run searches its user's knowledge base if worker.toml grants it, and nobody else's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runtime.knowledge import reading, service
from runtime.settings import Settings
from runtime.tokens import run_token
from tests.support.attempt import Attempt
from tests.support.knowledge import CATS, DOGS, add, found, source
from tests.support.web import Client, write_worker
from web.core import Core


@pytest.fixture
def worker_folder(tmp_path: Path) -> Path:
    """Workers: ``parrot``, which may search, and ``sparrow``, which may not."""
    folder = tmp_path / "workers"
    write_worker(folder, "parrot", 'grants = ["knowledge"]')
    write_worker(folder, "sparrow")
    return folder


@pytest.fixture
def send(ada: Client, nobody: Client, core: Core, web_settings: Settings) -> Any:
    """Sends a document as a run of ``worker_id`` of Ada's; after ``before``, which is given the attempt."""

    def sent(worker_id: str, before: Any = None, text: str = DOGS, method: str = "POST", **query: str) -> Any:
        run = ada.ask(ada.thread(), worker_id=worker_id).json["runs"][0]
        attempt = Attempt(core, run["id"])
        token = run_token(web_settings, run["id"], attempt.run.attempt)
        if before:
            before(attempt)
        path, headers = f"/worker/runs/{run['id']}/documents", {"Authorization": f"Bearer {token}"}
        query = {"source": "animals", "name": "dogs.md", **query}
        body = text.encode() if method == "POST" else None
        return nobody.open(path, method=method, query_string=query, data=body, headers=headers)

    return sent


@pytest.fixture
def search(ada: Client, nobody: Client, core: Core, web_settings: Settings) -> Any:
    """Searches as a run of ``worker_id`` of Ada's, which has then ended if it is ``over``."""

    def asked(worker_id: str, over: bool = False, grants: Any = None, **query: str) -> Any:
        run = ada.ask(ada.thread(), worker_id=worker_id).json["runs"][0]
        attempt = Attempt(core, run["id"])
        if over:
            attempt.finish()
        token = run_token(web_settings, run["id"], attempt.run.attempt, grants)
        path, headers = f"/worker/runs/{run['id']}/search", {"Authorization": f"Bearer {token}"}
        return nobody.get(path, query_string=query, headers=headers)

    return asked


def test_a_run_finds_passages_of_its_own_user(ada: Client, bob: Client, search: Any) -> None:
    add(ada, source(ada), "cats.md", CATS)
    add(ada, source(ada, "more"), "pets.md", CATS + DOGS)
    add(bob, source(bob, "theirs"), "dogs.md", DOGS)

    items = search("parrot", q="the postman").json["items"]
    assert [(one["source"], one["document"]) for one in items] == [("more", "pets.md")]
    assert {one["source"] for one in search("parrot", q="mice").json["items"]} == {"animals", "more"}
    [one] = search("parrot", q="mice", source="animals").json["items"]
    assert (one["document"], one["titles"]) == ("cats.md", ["Cats", "Food"])
    assert search("parrot", q="mice", source="theirs").status_code == 404


def test_a_worker_without_the_grant_finds_nothing(ada: Client, search: Any) -> None:
    add(ada, source(ada), "cats.md", CATS)
    answer = search("sparrow", q="mice")

    assert answer.status_code == 403
    assert 'grants = ["knowledge"]' in answer.json["detail"]


def test_what_the_version_that_executes_a_run_is_granted_counts(ada: Client, search: Any) -> None:
    """And not what another one is, which pools have registered meanwhile."""
    add(ada, source(ada), "cats.md", CATS)

    assert search("parrot", grants=[], q="mice").status_code == 403
    assert search("sparrow", grants=["knowledge"], q="mice").status_code == 200


def test_a_run_that_has_ended_finds_nothing(search: Any) -> None:
    assert search("parrot", over=True, q="mice").status_code == 401


def test_a_run_adds_a_document_once(ada: Client, send: Any) -> None:
    source(ada)

    assert [send("parrot").json["changed"] for _ in range(2)] == [True, False]
    assert len(found(ada, "postman")) == 1


def test_a_run_that_converts_a_file_is_told_whether_it_is_the_one_that_is_there(
    ada: Client, bob: Client, send: Any, search: Any
) -> None:
    source(ada), source(bob)
    same, other = "a" * 64, "b" * 64
    assert send("parrot", method="GET", name="dogs.pdf").json == {"document": None}

    made = [
        send(
            "parrot", text=f"<p>Dogs {number}", name="dogs.pdf", kind="html", digest=digest, validator="1"
        ).json
        for number, digest in enumerate((same, same, other))
    ]
    assert [one["changed"] for one in made] == [True, False, True]
    there = send("parrot", method="GET", name="dogs.pdf").json["document"]
    assert (there["digest"], there["kind"], there["validator"]) == (other, "html", "1")
    assert [one["text"] for one in found(ada, "dogs")] == ["Dogs 2"]
    again = send("parrot", text="not read", name="dogs.pdf", kind="html", digest=other, validator="2").json
    assert (again["changed"], again["document"]["validator"]) == (False, "2")
    assert send("parrot", text="not read", name="dogs.pdf", digest=other).json["document"]["validator"] == "2"
    assert send("parrot", method="GET", name="dogs.pdf").json["document"] == again["document"]
    assert [one["text"] for one in found(ada, "dogs")] == ["Dogs 2"]
    assert send("sparrow", method="GET").status_code == 403
    assert send("parrot", digest="A" * 64).status_code == send("parrot", kind="pdf").status_code == 422


def test_a_run_adds_nothing_to_what_it_does_not_reach(ada: Client, bob: Client, send: Any) -> None:
    source(bob)
    assert send("parrot").status_code == 404
    source(ada)
    assert send("sparrow").status_code == 403
    assert found(ada, "postman") == found(bob, "postman") == []


def test_an_attempt_that_is_replaced_keeps_no_validator(
    ada: Client, send: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source(ada)
    assert send("parrot", validator="1").json["document"]["validator"] == "1"
    checked, attempts = service._checked, list[Attempt]()

    def replaced_meanwhile(name: str) -> str:
        attempts[0].finish()
        return checked(name)

    with monkeypatch.context() as patch:
        patch.setattr(service, "_checked", replaced_meanwhile)
        assert send("parrot", before=attempts.append, validator="2").status_code == 401
    assert send("parrot", method="GET").json["document"]["validator"] == "1"


def test_an_attempt_that_is_replaced_while_its_document_is_read_adds_nothing(
    ada: Client, core: Core, send: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source(ada)
    read, attempts_of_run = reading.read, []

    def replaced_meanwhile(*given: Any) -> Any:
        attempts_of_run[0].finish()
        return read(*given)

    monkeypatch.setattr(reading, "read", replaced_meanwhile)
    assert send("parrot", before=attempts_of_run.append).status_code == 401
    assert found(ada, "postman") == []
