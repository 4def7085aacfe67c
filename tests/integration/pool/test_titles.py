"""A thread that was given no title is titled by its first message, then by a worker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from runtime.dispatch import Dispatcher
from runtime.dispatch.titles import title_of
from runtime.model import MessageType, RunStatus
from runtime.outboxes import outbox_of
from runtime.settings import Settings
from runtime.settings import load as load_settings
from runtime.store import outbox, runs, tables
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


Handle = Callable[[], int]


@pytest.fixture
def handle(core: Core) -> Handle:
    """Carry out all tasks of the outbox; how many were done. The seconds that they wait are over."""

    def handle() -> int:
        core.database.write(lambda c: c.execute(tables.outbox.update().values(due_at=tables.now(-1))))
        return outbox_of(core).handle_due()

    return handle


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


def title_runs(core: Core) -> list[str]:
    """The runs of the title worker, which no user is shown."""
    return [run.id for run in core.database.read(runs.listing, None, worker_id="titler").items]


def title_run(core: Core) -> dict[str, Any]:
    """The only one of them."""
    (run,) = title_runs(core)
    return stored_run(core, run).encode()


def waiting(core: Core) -> list[str]:
    """The kinds of the tasks that are left."""
    return [one.kind for one in core.database.read(outbox.counts)]


def test_a_thread_is_titled_by_its_first_words_until_a_worker_has_titled_it(
    core: Core, ada: Client, handle: Handle
) -> None:
    begun = begin(ada)
    assert title(ada, begun) == "Why are leaves green?"
    assert waiting(core) == [], "there is no answer yet"

    answered(core, begun["runs"][0]["id"], "Because of chlorophyll.")
    assert (handle(), handle(), len(title_runs(core))) == (0, 0, 1)
    made = answered(core, title_run(core)["id"], "“Green ", "leaves”\n\nsome more words")

    given = [message.content for message in made.claim.messages]
    assert given[:2] == [QUESTION, "Because of chlorophyll."]
    assert given[2].startswith("Name this conversation")
    assert made.run.args == {"title_of": begun["thread"]["id"]}
    assert handle() == 1
    assert title(ada, begun) == "Green leaves"
    assert waiting(core) == []
    again = ada.ask(begun["thread"], "And in autumn?").json
    answered(core, again["runs"][0]["id"], "Not so.")
    assert waiting(core) == [], "it has a title"


def test_a_title_is_announced_to_the_readers_of_its_thread(core: Core, ada: Client, handle: Handle) -> None:
    begun = begin(ada)
    answered(core, begun["runs"][0]["id"], "Because.")
    handle()
    answered(core, title_run(core)["id"], "Leaves")
    handle()

    entries = core.log.read(begun["thread"]["id"], core.log.oldest(begun["thread"]["id"])).entries
    assert entries[-1].type == "thread.updated"
    assert b'"title":"Leaves"' in entries[-1].payload


def test_the_helper_thread_of_a_title_is_in_no_list(core: Core, ada: Client, handle: Handle) -> None:
    begun = begin(ada)
    answered(core, begun["runs"][0]["id"], "Because.")
    states = ada.get(f"/api/threads/{begun['thread']['id']}/states").json["items"]
    handle()

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
    core: Core, ada: Client, handle: Handle, moment: str, kept: str
) -> None:
    begun = begin(ada)
    at = f"/api/threads/{begun['thread']['id']}"
    answered(core, begun["runs"][0]["id"], "Because.")
    if moment == "before it is asked for":
        ada.patch(at, json={"title": "Mine"})
        assert (handle(), title_runs(core)) == (1, [])
    else:
        handle()
        ada.patch(at, json={"title": kept})
        answered(core, title_run(core)["id"], "Leaves")
        assert handle() == 1
    assert title(ada, begun) == kept
    assert waiting(core) == []


def test_a_thread_created_with_a_title_gets_no_other(core: Core, ada: Client, handle: Handle) -> None:
    begun = begin(ada, title="Given")
    answered(core, begun["runs"][0]["id"], "Because.")
    assert waiting(core) == []


@pytest.mark.parametrize("how", ["error", "cancelled", "without a word", "with a question"])
def test_the_first_words_are_kept_when_the_worker_makes_no_title(
    core: Core, ada: Client, handle: Handle, how: str
) -> None:
    begun = begin(ada)
    answered(core, begun["runs"][0]["id"], "Because.")
    handle()
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

    assert (handle(), waiting(core), len(title_runs(core))) == (1, [], 1)
    assert title(ada, begun) == "Why are leaves green?"
    assert stored_run(core, run).status.terminal


def test_a_title_is_requested_once_when_a_process_dies_after_the_request(
    core: Core, ada: Client, handle: Handle, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = begin(ada)
    answered(core, begun["runs"][0]["id"], "Because.")
    with monkeypatch.context() as killed:
        killed.setattr("runtime.store.outbox.put_back", None)
        with pytest.raises(TypeError):
            handle()

    assert (handle(), len(title_runs(core))) == (0, 1)
    answered(core, title_run(core)["id"], "Leaves")
    assert handle() == 1
    assert title(ada, begun) == "Leaves"


def test_a_title_is_requested_whatever_idempotency_keys_its_user_has_used(
    core: Core, ada: Client, handle: Handle
) -> None:
    begun = begin(ada)
    answered(core, begun["runs"][0]["id"], "Because.")
    key = {"Idempotency-Key": f"title:{begun['thread']['id']}"}
    mine = {"worker_id": "parrot", "messages": [{"role": "user", "content": "Mine"}]}
    assert ada.post("/api/runs", json=mine, headers=key).status_code == 202
    handle()
    answered(core, title_run(core)["id"], "Leaves")
    assert handle() == 1
    assert title(ada, begun) == "Leaves"


def test_a_user_with_a_full_queue_gets_no_titles_and_delays_nobody(
    core: Core, ada: Client, bob: Client, handle: Handle
) -> None:
    for _ in range(30):
        begun = begin(ada)
        answered(core, begun["runs"][0]["id"], "Because.")
    others = begin(bob)
    answered(core, others["runs"][0]["id"], "Because.")
    for _ in range(QUEUED):
        begin(ada, title="Another")

    assert (handle(), len(title_runs(core))) == (30, 1)
    assert title(ada, begun) == "Why are leaves green?"
    answered(core, title_run(core)["id"], "Leaves")
    assert handle() == 1
    assert title(bob, others) == "Leaves"


def test_the_worker_is_given_the_question_and_the_texts_after_it_without_function_calls(
    core: Core, ada: Client, handle: Handle
) -> None:
    begun = begin(ada)
    attempt = Attempt(core, begun["runs"][0]["id"])
    for number in range(6):
        attempt.say(f"call {number}", type=MessageType.FUNCTION)
        attempt.say(f"Text {number}.")
    attempt.finish()

    handle()
    made = Attempt(core, title_run(core)["id"])
    given = [message.content for message in made.claim.messages][:-1]
    assert given == [QUESTION, "Text 0.", "Text 1.", "Text 2."]


def test_a_thread_without_text_requests_no_title(core: Core, ada: Client, handle: Handle) -> None:
    begun = begin(ada, text="")
    attempt = Attempt(core, begun["runs"][0]["id"])
    attempt.say("call", type=MessageType.FUNCTION)
    attempt.finish()

    assert (handle(), title_runs(core)) == (1, [])


def test_titles_wait_for_an_unavailable_worker_longer_and_longer_and_for_a_day(
    core: Core,
    ada: Client,
    handle: Handle,
    dispatched: list[object],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for _ in range(2):
        answered(core, begin(ada)["runs"][0]["id"], "Because.")
    old = begin(ada)
    answered(core, old["runs"][0]["id"], "Because.")
    this = tables.threads.c.id == old["thread"]["id"]

    def grow_old(seconds: float) -> None:
        values = {"updated_at": tables.now(-seconds)}
        core.database.write(lambda c: c.execute(tables.threads.update().where(this).values(values)))

    missing = replace(core.settings.run, title_worker="nobody")
    with monkeypatch.context() as gone:
        gone.setattr(core, "settings", replace(core.settings, run=missing))
        grow_old(3600)
        without_worker = outbox_of(core)
        assert (without_worker.handle_due(), without_worker.handle_due()) == (0, 0)
        assert len(dispatched) == 3 + 3
        assert [record.getMessage()[:44] for record in caplog.records] == [
            "No titles are made by the worker 'nobody': T"
        ]
        due_at = sa.select(tables.outbox.c.due_at).order_by(tables.outbox.c.due_at)
        soon, _, late = core.database.read(lambda c: list(c.execute(due_at).scalars()))
        assert (late - soon).total_seconds() > 500
        grow_old(90_000)
        assert handle() == 1, "it is not waited for any longer"
    assert (handle(), len(title_runs(core))) == (0, 2)


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
