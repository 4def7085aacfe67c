"""A thread that was given no title is titled by its first message, then by a worker."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runtime.dispatch import Dispatcher
from runtime.dispatch.titles import title_of
from runtime.maintenance.titles import Titles
from runtime.model import MessageType, RunStatus
from runtime.settings import Settings
from runtime.settings import load as load_settings
from runtime.store import runs
from runtime.store import titles as titles_module
from tests.support.attempt import Attempt, stored_run
from tests.support.web import Client, write_worker
from web.core import Core

QUEUED = 4
"""Runs that a user may have queued."""
QUESTION = "# Why are **leaves** green?\n\nI always wondered."


@pytest.fixture
def web_settings(web_environ: dict[str, str], worker_folder: Path) -> Settings:
    """A worker makes titles."""
    write_worker(worker_folder, "titler")
    more = {"BRANCHLINE_RUN_TITLE_WORKER": "titler", "BRANCHLINE_LIMITS_QUEUED_PER_USER": str(QUEUED)}
    return load_settings({**web_environ, **more})


@pytest.fixture
def titles(core: Core) -> Titles:
    """What the reaper has."""
    return Titles(core)


@pytest.fixture
def dispatched(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The arguments of each call of the dispatcher, those that it refuses as well."""
    calls: list[object] = []
    create = Dispatcher.create

    def record(self: Dispatcher, *arguments: Any) -> Any:
        calls.append(arguments)
        return create(self, *arguments)

    monkeypatch.setattr(Dispatcher, "create", record)
    return calls


def begin(client: Client, text: str = QUESTION, **body: Any) -> dict[str, Any]:
    """A thread and its first run."""
    question = [{"role": "user", "content": text}]
    answer = client.post("/api/runs", json={"worker_id": "parrot", "messages": question, **body})
    assert answer.status_code == 202, answer.text
    return answer.json


def answered(core: Core, run_id: str, *texts: str, status: RunStatus = RunStatus.SUCCESS) -> Attempt:
    """Execute a run."""
    attempt = Attempt(core, run_id)
    if texts:
        attempt.say(*texts)
    attempt.finish(status)
    return attempt


def title(client: Client, begun: dict[str, Any]) -> str | None:
    return client.get(f"/api/threads/{begun['thread']['id']}").json["thread"]["title"]


def title_run(core: Core) -> dict[str, Any]:
    """The only run of the title worker, which no user is shown."""
    (run,) = core.database.read(runs.listing, None, worker_id="titler").items
    return run.encode()


def test_a_thread_is_titled_by_its_first_words_until_a_worker_has_titled_it(
    core: Core, ada: Client, titles: Titles
) -> None:
    begun = begin(ada)
    assert title(ada, begun) == "Why are leaves green?"
    assert titles.request_missing() == 0, "there is no answer yet"

    answered(core, begun["runs"][0]["id"], "Because of chlorophyll.")
    assert titles.request_missing() == 1
    assert (titles.request_missing(), titles.apply_finished()) == (0, 0)
    made = answered(core, title_run(core)["id"], "“Green ", "leaves”\n\nsome more words")

    given = [message.content for message in made.claim.messages]
    assert given[:2] == [QUESTION, "Because of chlorophyll."]
    assert given[2].startswith("Name this conversation")
    assert made.run.args == {"title_of": begun["thread"]["id"]}
    assert titles.apply_finished() == 1
    assert title(ada, begun) == "Green leaves"
    assert (titles.request_missing(), titles.apply_finished()) == (0, 0)


def test_a_title_is_announced_to_the_readers_of_its_thread(core: Core, ada: Client, titles: Titles) -> None:
    begun = begin(ada)
    answered(core, begun["runs"][0]["id"], "Because.")
    titles.request_missing()
    answered(core, title_run(core)["id"], "Leaves")
    titles.apply_finished()

    entries = core.log.read(begun["thread"]["id"], core.log.oldest(begun["thread"]["id"])).entries
    assert entries[-1].type == "thread.updated"
    assert b'"title":"Leaves"' in entries[-1].payload


def test_the_helper_thread_of_a_title_is_in_no_list(core: Core, ada: Client, titles: Titles) -> None:
    begun = begin(ada)
    answered(core, begun["runs"][0]["id"], "Because.")
    states = ada.get(f"/api/threads/{begun['thread']['id']}/states").json["items"]
    titles.request_missing()

    for listed in ("/api/threads", "/api/threads?query=leaves"):
        assert [one["id"] for one in ada.get(listed).json["items"]] == [begun["thread"]["id"]]
    assert ada.get(f"/api/threads/{begun['thread']['id']}/states").json["items"] == states
    run = title_run(core)
    assert ada.get(f"/api/threads/{run['thread_id']}").status_code == 404
    assert ada.get(f"/api/runs/{run['id']}").status_code == 404
    assert ada.post(f"/api/runs/{run['id']}/cancel").status_code == 404
    assert ada.get("/api/runs?worker=titler").json["items"] == []


@pytest.mark.parametrize(
    ("moment", "kept"),
    [
        ("before it is asked for", "Mine"),
        ("while it is made", "Mine"),
        ("while it is made", "Why are leaves green?"),
    ],
)
def test_a_title_given_by_the_user_is_kept(
    core: Core, ada: Client, titles: Titles, moment: str, kept: str
) -> None:
    begun = begin(ada)
    at = f"/api/threads/{begun['thread']['id']}"
    answered(core, begun["runs"][0]["id"], "Because.")
    if moment == "before it is asked for":
        ada.patch(at, json={"title": "Mine"})
        assert titles.request_missing() == 0
    else:
        titles.request_missing()
        ada.patch(at, json={"title": kept})
        answered(core, title_run(core)["id"], "Leaves")
    assert titles.apply_finished() == 0
    assert title(ada, begun) == kept
    assert (titles.request_missing(), titles.apply_finished()) == (0, 0)


def test_a_thread_created_with_a_title_gets_no_other(core: Core, ada: Client, titles: Titles) -> None:
    begun = begin(ada, title="Given")
    answered(core, begun["runs"][0]["id"], "Because.")
    assert titles.request_missing() == 0


@pytest.mark.parametrize("how", ["error", "cancelled", "without a word", "with a question"])
def test_the_first_words_are_kept_when_the_worker_makes_no_title(
    core: Core, ada: Client, titles: Titles, how: str
) -> None:
    begun = begin(ada)
    answered(core, begun["runs"][0]["id"], "Because.")
    titles.request_missing()
    run = title_run(core)["id"]
    match how:
        case "error":
            answered(core, run, "Leav", status=RunStatus.ERROR)
        case "cancelled":
            Dispatcher(core).cancel(None, run)
        case "without a word":
            answered(core, run)
        case "with a question":
            Attempt(core, run).ask("Which one?")

    assert (titles.apply_finished(), titles.apply_finished(), titles.request_missing()) == (0, 0, 0)
    assert title(ada, begun) == "Why are leaves green?"
    assert stored_run(core, run).status.terminal


def test_a_title_is_requested_once_when_a_reaper_dies_after_the_request(
    core: Core, ada: Client, titles: Titles, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = begin(ada)
    answered(core, begun["runs"][0]["id"], "Because.")
    with monkeypatch.context() as killed:
        killed.setattr("runtime.store.titles.asked_for", None)
        with pytest.raises(TypeError):
            titles.request_missing()

    assert Titles(core).request_missing() == 1
    answered(core, title_run(core)["id"], "Leaves")
    assert titles.apply_finished() == 1


def test_a_user_with_a_full_queue_gets_no_titles_and_delays_nobody(
    core: Core, ada: Client, bob: Client, titles: Titles
) -> None:
    others = begin(bob)
    answered(core, others["runs"][0]["id"], "Because.")
    for _ in range(titles_module._AT_ONCE):  # private: as many as one round looks at, whatever that is
        begun = begin(ada)
        answered(core, begun["runs"][0]["id"], "Because.")
    for _ in range(QUEUED):
        begin(ada, title="Another")

    assert (titles.request_missing(), titles.request_missing()) == (0, 1)
    assert title(ada, begun) == "Why are leaves green?"
    answered(core, title_run(core)["id"], "Leaves")
    assert titles.apply_finished() == 1
    assert title(bob, others) == "Leaves"


def test_a_title_is_requested_once_when_its_idempotency_key_is_in_use(
    core: Core, ada: Client, titles: Titles, dispatched: list[object]
) -> None:
    begun = begin(ada)
    answered(core, begun["runs"][0]["id"], "Because.")
    key = {"Idempotency-Key": f"title:{begun['thread']['id']}"}
    mine = {"worker_id": "parrot", "messages": [{"role": "user", "content": "Mine"}]}
    assert ada.post("/api/runs", json=mine, headers=key).status_code == 202

    dispatched.clear()
    assert (titles.request_missing(), titles.request_missing(), len(dispatched)) == (0, 0, 1)


def test_the_worker_is_given_the_question_and_the_texts_after_it_without_function_calls(
    core: Core, ada: Client, titles: Titles
) -> None:
    begun = begin(ada)
    attempt = Attempt(core, begun["runs"][0]["id"])
    for number in range(6):
        attempt.say(f"call {number}", type=MessageType.FUNCTION)
        attempt.say(f"Text {number}.")
    attempt.finish()

    assert titles.request_missing() == 1
    made = Attempt(core, title_run(core)["id"])
    given = [message.content for message in made.claim.messages][:-1]
    assert given == [QUESTION, "Text 0.", "Text 1.", "Text 2."]


def test_a_thread_without_text_requests_no_title(core: Core, ada: Client, titles: Titles) -> None:
    begun = begin(ada, text="")
    attempt = Attempt(core, begun["runs"][0]["id"])
    attempt.say("call", type=MessageType.FUNCTION)
    attempt.finish()

    assert titles.request_missing() == 0
    assert ada.get("/api/runs?worker=titler").json["items"] == []


def test_an_unavailable_worker_is_tried_for_one_thread_in_a_round(
    core: Core,
    ada: Client,
    titles: Titles,
    dispatched: list[object],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for _ in range(3):
        answered(core, begin(ada)["runs"][0]["id"], "Because.")
    dispatched.clear()
    with monkeypatch.context() as gone:
        missing = replace(core.settings.run, title_worker="nobody")
        gone.setattr(core, "settings", replace(core.settings, run=missing))
        without_worker = Titles(core)
        assert (without_worker.request_missing(), without_worker.request_missing()) == (0, 0)

    assert len(dispatched) == 2
    assert [record.getMessage()[:44] for record in caplog.records] == [
        "No titles are made by the worker 'nobody': T"
    ]
    assert titles.request_missing() == 3


def test_the_first_words_are_shortened_and_freed_of_markup(ada: Client) -> None:
    long = "word " * 40
    assert [title(ada, begin(ada, text)) for text in ("\n\n> *Quoted*  words ", long, "x" * 90, "   ")] == [
        "Quoted words", ("word " * 16).strip(), "x" * 80, None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Explain C# generics", "Explain C# generics"),
        ("fix my_function, please", "fix my_function, please"),
        ("5 * 3 > 2?", "5 * 3 > 2?"),
        ("> - **Bold** and `code`", "Bold and code"),
        ("```python\nprint(1)\n```", "print(1)"),
        ("---\n\nAfter a line", "After a line"),
        ("* " * 200_000, ""),
        ("<think>\nA title?\n\n" + "Hm. " * 2000 + "</think>\n\nOaks in autumn", "Oaks in autumn"),
        ("<think>Never closed", ""),
        ("A title?\n\n" + "Hm. " * 2000 + "\n</think>\n\nOaks in autumn", "Oaks in autumn"),
        ("Hm.</think>\nOaks in autumn", "Oaks in autumn"),
        ("What does </think> mean?", "What does </think> mean?"),
        ("What does <think> mean?", "What does <think> mean?"),
        ("x" * 77 + "👨‍👩‍👧‍👦", "x" * 77),
        ("x" * 79 + "👍🏽", "x" * 79),
        ("x" * 79 + "e\u0301", "x" * 79),
        ("x" * 79 + "🇳🇴🇫🇷", "x" * 79),
        ("x" * 78 + "🇳🇴🇫🇷", "x" * 78 + "🇳🇴"),
    ],
)
def test_a_title_leaves_out_markup_only(text: str, words: str) -> None:
    assert title_of(text) == words
