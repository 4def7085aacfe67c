"""The Worker API over HTTP: a run seen by the worker that executes it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from runtime.model import Message, Role, new_id
from runtime.settings import Settings
from runtime.store import attempts, calls, runs
from runtime.store.page import encode_cursor
from runtime.tokens import run_token, session_token
from tests.support.attempt import Attempt
from tests.support.web import Client
from web.api import worker_requests
from web.core import Core

DELTA = {"type": "delta", "text": "Hello"}


class Worker:
    """A worker that executes a run."""

    def __init__(self, client: Client, attempt: Attempt, token: str) -> None:
        self.attempt = attempt
        self._client = client
        self._headers = {"Authorization": f"Bearer {token}"}
        self._path = f"/worker/runs/{attempt.run.id}"

    def get(self, rest: str = "") -> Any:
        return self._client.get(self._path + rest, headers=self._headers)

    def post(self, rest: str, **body: Any) -> Any:
        return self._client.post(self._path + rest, headers=self._headers, **body)

    def ask(self, **line: Any) -> Any:
        return self.post("/requests", json=line)

    def send(self, **body: Any) -> Any:
        return self.post("/events", **body)


@pytest.fixture
def worker(ada: Client, nobody: Client, core: Core, web_settings: Settings) -> Worker:
    run = ada.ask(ada.thread(), "What is an oak?", args={"deep": True}).json["runs"][0]
    attempt = Attempt(core, run["id"])
    return Worker(nobody, attempt, run_token(web_settings, run["id"], attempt.run.attempt))


def start_worker(
    ada: Client, nobody: Client, core: Core, settings: Settings, thread: dict[str, Any], state: str
) -> Worker:
    """A worker that was asked after ``state``."""
    run = ada.ask(thread, input_state_id=state).json["runs"][0]
    attempt = Attempt(core, run["id"])
    return Worker(nobody, attempt, run_token(settings, run["id"], attempt.run.attempt))


def sent(core: Core, worker: Worker) -> list[Any]:
    run = worker.attempt.run
    return [orjson.loads(line) for line in core.inbox.pop(run.thread_id, run.id, run.attempt, 100)]


def test_a_worker_sees_its_run_and_the_history(worker: Worker) -> None:
    told = worker.get().json
    history = worker.get("/messages").json

    assert (told["run"]["args"], told["run"]["attempt"], told["answers"]) == ({"deep": True}, 1, [])
    assert (told["saved"], told["state"]) == ({}, None)
    assert told["thread"] == {"id": told["run"]["thread_id"], "title": None, "metadata": {}}
    assert [message["content"] for message in history["items"]] == ["What is an oak?"]


def test_a_run_reads_its_own_branch_and_no_other(
    ada: Client, nobody: Client, core: Core, web_settings: Settings
) -> None:
    thread = ada.thread()
    parent, texts = None, ["First", "Second", "Third"]
    for text in texts:
        parent = ada.say(thread, text, parent)["id"]
    first, second = (start_worker(ada, nobody, core, web_settings, thread, parent) for _ in range(2))
    aside = ada.say(thread, "Of another branch", ada.say(thread, "Aside")["id"])

    newest = first.get("/messages?limit=2").json
    before = first.get(f"/messages?limit=2&cursor={newest['next']}").json
    assert [message["content"] for message in before["items"] + newest["items"]] == [*texts, "Hello"]
    for made_up in (encode_cursor(aside["id"], 1), newest["next"][:-1], "x"):
        answer = first.get(f"/messages?cursor={made_up}")
        assert (answer.status_code, answer.json["errors"][0]["path"]) == (422, "cursor")
    assert second.get(f"/messages?cursor={newest['next']}").status_code == 422


def test_events_are_accepted_as_an_array(worker: Worker, core: Core) -> None:
    answer = worker.send(json=[DELTA, {"type": "done"}])

    assert (answer.status_code, answer.json) == (202, {"accepted": 2})
    assert sent(core, worker) == [DELTA, {"type": "done"}]


def test_events_are_accepted_as_lines(worker: Worker, core: Core) -> None:
    lines = b'{"type":"delta","text":"\xf0\x9f\x8c\xb3"}\n\n{"type":"done"}'

    answer = worker.send(data=lines, content_type="application/x-ndjson")

    assert (answer.status_code, answer.json) == (202, {"accepted": 2})
    assert sent(core, worker) == [{"type": "delta", "text": "🌳"}, {"type": "done"}]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"json": {"type": "done"}}, 422),
        ({"json": [DELTA, 5]}, 422),
        ({"json": [{"text": "x"}]}, 422),
        ({"data": b"[", "content_type": "application/json"}, 400),
        ({"data": b"nonsense\n", "content_type": "application/x-ndjson"}, 422),
        ({"data": b"5\n", "content_type": "application/x-ndjson"}, 422),
    ],
)
def test_an_invalid_event_is_refused(worker: Worker, core: Core, body: dict[str, Any], status: int) -> None:
    assert worker.send(**body).status_code == status
    assert sent(core, worker) == []


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ({"type": "delta", "text": "x"}, "type"),
        ({"type": "save", "value": 1}, "key"),
        ({"type": "save", "key": "plan"}, "value"),
        ({"type": "inbox"}, "number"),
        ({"type": "inbox", "number": 0}, "number"),
        ({"type": "call", "id": "a"}, "worker_id"),
    ],
)
def test_what_no_pool_could_answer_is_refused_at_once(
    worker: Worker, core: Core, line: dict[str, Any], field: str
) -> None:
    answer = worker.ask(**line)

    assert (answer.status_code, answer.json["errors"][0]["path"]) == (422, field)
    assert sent(core, worker) == []


def test_a_pool_that_does_not_answer_is_unavailable(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_requests, "PATIENCE", 0.1)

    answer = worker.ask(type="save", key="plan", value=1)

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    assert "does not answer; ask again" in answer.json["detail"]


def test_a_caller_reads_the_files_of_a_sub_run_once_it_is_told_of_its_end(
    worker: Worker, nobody: Client, core: Core, web_settings: Settings
) -> None:
    """Also where its pool has not heard of the end yet."""
    spec = runs.RunSpec("echo", "digest", "python", {}, None, max_attempts=3, timeout_seconds=60)
    limits = calls.CallLimits(depth=5, in_all=100)
    called = core.database.write(
        calls.create, worker.attempt.run, "a", "digest", [], spec, limits, taken=True
    )
    assert called is not None
    below = Attempt(core, called.run.id)
    run = below.run
    sub_run = Worker(nobody, below, run_token(web_settings, run.id, run.attempt))
    file = sub_run.post("/files?name=a.txt", data=b"made below").json["file"]
    core.database.write(
        attempts.save_messages,
        run,
        [Message(new_id(), run.output_state_id, 0, Role.ASSISTANT, "look", run_id=run.id, files=[file])],
    )
    assert worker.get(f"/files/{file['id']}").status_code == 404
    below.finish()

    result = worker.get(f"/calls/{run.id}?timeout=0").json

    assert [one["id"] for one in result["messages"][0]["files"]] == [file["id"]]
    assert worker.get(f"/files/{file['id']}").data == b"made below"


def test_a_run_token_is_refused_for_another_run(worker: Worker, ada: Client, core: Core) -> None:
    other = ada.ask(ada.thread()).json["runs"][0]
    Attempt(core, other["id"])

    assert worker.get(f"/../{other['id']}").status_code == 404


def test_a_run_token_is_refused_after_its_attempt_has_ended(worker: Worker) -> None:
    worker.attempt.finish()

    assert worker.get().status_code == 401
    assert worker.get("/commands").status_code == 401
    assert worker.send(json=[DELTA]).status_code == 401


def test_only_a_run_token_opens_the_worker_api(
    worker: Worker, ada: Client, nobody: Client, web_settings: Settings
) -> None:
    run = worker.attempt.run
    secret = ada.post("/api/tokens").json["token"]["secret"]
    useless = [
        secret,
        session_token(web_settings, new_id()),
        run_token(web_settings, run.id, run.attempt + 1),
        "x",
        "",
    ]

    for token in useless:
        headers = {"Authorization": f"Bearer {token}"}
        assert nobody.get(f"/worker/runs/{run.id}", headers=headers).status_code == 401
    assert ada.get(f"/worker/runs/{run.id}").status_code == 401


def test_a_run_token_is_refused_outside_the_worker_api(
    worker: Worker, nobody: Client, web_settings: Settings
) -> None:
    run = worker.attempt.run
    headers = {"Authorization": f"Bearer {run_token(web_settings, run.id, run.attempt)}"}

    for path in ("/api/me", f"/api/runs/{run.id}", "/api/threads"):
        assert nobody.get(path, headers=headers).status_code == 401
