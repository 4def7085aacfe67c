"""Workers that are web services, in a whole installation: what they write, push and ask for."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import httpx
import pytest

from runtime.settings import CHECKOUT
from runtime.testing.client import Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from runtime.testing.waiting import until
from tests.support.worker_service import WorkerService

MANIFEST = """
id = "service"
name = "Service"
type = "http"
url = "{url}"
accepts = ["*/*"]
"""
EXAMPLE = CHECKOUT / "workers" / "http_worker"
DONE = b'{"type":"done"}\n'


class Api(httpx.Client):
    """The Worker API, as a service reaches it that was sent these headers."""

    def __init__(self, headers: dict[str, str]) -> None:
        url = f"{headers['X-Branchline-Api-Url']}/worker/runs/{headers['X-Branchline-Run-Id']}"
        shown = {"Authorization": headers["Authorization"]}
        super().__init__(base_url=url, headers=shown, timeout=60, trust_env=False)

    def ask(self, **line: Any) -> Any:
        """The pool's answer to a line."""
        return self.send_line(**line).json()

    def send_line(self, **line: Any) -> httpx.Response:
        """The response to a line that is to be answered."""
        return self.post("/requests", json=line)


Worker = Callable[[dict[str, Any], Api], Iterator[bytes]]


@pytest.fixture(scope="module")
def service() -> Iterator[WorkerService]:
    service = WorkerService()
    yield service
    service.close()


@pytest.fixture(scope="module")
def example() -> Iterator[str]:
    """The address of the service behind the worker that is shipped."""
    with subprocess.Popen(
        [sys.executable, str(EXAMPLE / "service.py"), "0"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.kill()


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory,
    stack_redis: RedisServer,
    stack_database_url: str,
    service: WorkerService,
    example: str,
) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("stack")
    folder = home / "workers" / "service"
    folder.mkdir(parents=True)
    (folder / "worker.toml").write_text(MANIFEST.format(url=service.url))
    shipped = shutil.copytree(EXAMPLE, folder.parent / "example")
    manifest = (shipped / "worker.toml").read_text().replace('id = "http_worker"', 'id = "example"')
    manifest = manifest.replace("http://127.0.0.1:9000/", example).replace("enabled = false", "")
    (shipped / "worker.toml").write_text(manifest)
    settings = {"WORKERS_PATH": str(folder.parent), "BRANCHLINE_RUN_RETRY_BACKOFF": "0"}
    settings["AGENT_SERVICE_URL"] = service.url.removesuffix("/run")
    with Stack(home, stack_database_url, stack_redis.url, ("http",), **settings) as stack:
        yield stack


def text(said: str) -> bytes:
    return json.dumps({"type": "delta", "text": said}).encode() + b"\n"


def answer(worker: Worker, body: dict[str, Any], headers: dict[str, str]) -> Iterator[bytes]:
    with Api(headers) as api:
        yield from worker(body, api)


def run(client: Client, service: WorkerService, worker: Worker, **more: Any) -> dict[str, Any]:
    """A run of the service, which answers as ``worker`` says."""
    service.status, service.type = 200, "application/x-ndjson"
    service.answer = lambda body, headers: answer(worker, body, headers)
    asked = client.ask(client.thread(), "go", worker_id="service", **more)
    return asked["runs"][0]  # type: ignore[no-any-return]


def answer_of(client: Client, asked: dict[str, Any]) -> str:
    ended = client.wait(asked, timeout=60)
    assert ended["run"]["status"] == "success", ended["run"]["error"]
    return "|".join(message["content"] for message in ended["messages"] if message["role"] == "assistant")


def test_what_a_service_saves_is_there_in_the_next_attempt(client: Client, service: WorkerService) -> None:
    answers: list[Any] = []

    def worker(body: dict[str, Any], api: Api) -> Iterator[bytes]:
        answers.append(api.ask(type="save", key="plan", value={"attempt": body["run"]["attempt"]}))
        if body["run"]["attempt"] == 1:
            yield b'{"type":"error","message":"again","retryable":true}\n'
        yield text(json.dumps(body["saved"]))
        yield DONE

    assert answer_of(client, run(client, service, worker)) == '{"plan": {"attempt": 1}}'
    assert answers == [
        {"type": "saved", "key": "plan"},
        {"type": "saved", "key": "plan", "value": {"attempt": 1}},
    ]


def test_what_is_refused_is_a_conflict(client: Client, service: WorkerService) -> None:
    def worker(body: dict[str, Any], api: Api) -> Iterator[bytes]:
        api.ask(type="save", key="plan", value=1, digest="one")
        refused = api.send_line(type="save", key="plan", value=2, digest="two")
        yield text(f"{refused.status_code} {refused.json()['detail']}")
        yield DONE

    said = answer_of(client, run(client, service, worker))

    assert said == "409 It is refused: this key was saved before for something else."


def test_a_service_reads_its_inbox_and_a_repeated_look_finds_the_same(
    client: Client, service: WorkerService, tmp_path: Path
) -> None:
    sent = tmp_path / "sent"

    def worker(body: dict[str, Any], api: Api) -> Iterator[bytes]:
        yield text("Cats purr.")
        until(sent.exists, 30)
        found = [api.ask(type="inbox", number=number) for number in (1, 1, 2, 2)]
        yield text(" ".join(str(one["message"] and one["message"]["content"]) for one in found))
        yield DONE

    asked = run(client, service, worker)
    until(lambda: client.run(asked)["status"] == "running")
    body = {"messages": [{"role": "user", "content": "And birds?"}]}
    client.post(f"/api/runs/{asked['id']}/messages", json=body)
    sent.touch()

    assert answer_of(client, asked) == "Cats purr.|And birds? And birds? None None"


def test_a_service_calls_another_worker(client: Client, service: WorkerService) -> None:
    def worker(body: dict[str, Any], api: Api) -> Iterator[bytes]:
        if body["args"] == "called":
            yield text("I was called.")
            yield DONE
            return
        called = [api.ask(type="call", id="a", worker_id="service", args="called") for _ in range(2)]
        assert called[0] == called[1]
        result = api.get(f"/calls/{called[0]['run_id']}?timeout=30").json()
        yield text(f"{result['type']} {result['status']}: {result['messages'][0]['content']}")
        yield DONE

    assert answer_of(client, run(client, service, worker)) == "result success: I was called."


def test_a_service_accepts_the_run_and_pushes_its_answer_later(
    client: Client, service: WorkerService
) -> None:
    pushing: list[threading.Thread] = []

    def push(headers: dict[str, str]) -> None:
        with Api(headers) as api:
            api.post("/events?first=1", json=[{"type": "delta", "text": "pushed"}])
            api.ask(type="save", key="plan", value=1)
            api.post("/events?first=2", json=[{"type": "done"}])

    def accept(body: dict[str, Any], headers: dict[str, str]) -> Iterator[bytes]:
        pushing.append(threading.Thread(target=push, args=(headers,), daemon=True))
        pushing[0].start()
        yield from ()

    service.status, service.answer = 202, accept
    asked = client.ask(client.thread(), "go", worker_id="service")["runs"][0]

    assert answer_of(client, asked) == "pushed"


def test_a_service_that_accepts_the_run_and_says_nothing_runs_out_of_time(
    client: Client, service: WorkerService
) -> None:
    service.status, service.answer = 202, lambda *_: iter(())
    asked = client.ask(client.thread(), "go", worker_id="service", timeout=1)["runs"][0]

    assert client.wait(asked)["run"]["status"] == "timeout"


def test_a_busy_service_is_asked_again_when_it_says(client: Client, service: WorkerService) -> None:
    service.status, service.headers, service.answer = 503, {"Retry-After": "120"}, lambda *_: iter(())
    asked = client.ask(client.thread(), "go", worker_id="service")["runs"][0]
    until(lambda: client.run(asked)["failures"] == 1)
    service.headers = {}

    queue = client.run(asked)["queue"]
    client.post(f"/api/runs/{asked['id']}/cancel", json={"wait": True})
    assert 100 < queue["retry_after"] <= 120


def test_events_that_are_sent_twice_under_the_same_numbers_count_once(
    client: Client, service: WorkerService
) -> None:
    def worker(body: dict[str, Any], api: Api) -> Iterator[bytes]:
        for first, words in ((1, "ab"), (1, "ab"), (2, "bc"), (4, "d")):
            api.post(f"/events?first={first}", json=[{"type": "delta", "text": word} for word in words])
        early = api.post("/events?first=9", json=[{"type": "done"}])
        yield text(f" {early.status_code}")
        yield DONE

    assert answer_of(client, run(client, service, worker)) == "abcd 409"


def upload(client: Client, name: str, content: bytes) -> str:
    made = client.post("/api/files", files={"file": (name, content)})
    made.raise_for_status()
    return str(made.json()["file"]["id"])


def test_the_example_service_reads_the_files_of_its_run(client: Client) -> None:
    content = bytes(range(256)) * 1000
    message = {"role": "user", "content": "look", "files": [upload(client, "noise.bin", content)]}
    body = {"worker_id": "example", "config": {"pause": 0}, "messages": [message]}

    asked = client.post("/api/runs", json=body)

    assert asked.status_code == 202, asked.text
    digest = hashlib.sha256(content).hexdigest()
    said = answer_of(client, asked.json()["runs"][0])
    assert said == f"look \nnoise.bin: 256000 bytes, SHA-256 {digest}"


def test_a_service_reads_the_files_of_its_thread_alone_and_while_its_run_lasts(
    client: Client, service: WorkerService
) -> None:
    named, other = upload(client, "a.txt", b"named"), upload(client, "b.txt", b"other")

    def worker(body: dict[str, Any], api: Api) -> Iterator[bytes]:
        [file] = body["messages"][-1]["files"]
        found = [api.get(address) for address in (file["url"], f"/files/{other}")]
        yield text(" ".join(f"{one.status_code}" for one in found) + f" {found[0].text}")
        yield DONE

    service.status, service.type = 200, "application/x-ndjson"
    service.answer = lambda body, headers: answer(worker, body, headers)
    message = {"role": "user", "content": "go", "files": [named]}
    asked = client.post("/api/runs", json={"worker_id": "service", "messages": [message]})

    assert answer_of(client, asked.json()["runs"][0]) == "200 404 named"
    headers, body = service.requests[-1]
    with Api(headers) as late:
        assert late.get(body["messages"][-1]["files"][0]["url"]).status_code == 401


def pieces(*said: str) -> Iterator[bytes]:
    return iter([b"data: " + json.dumps({"content": one}).encode() + b"\n\n" for one in said])


def test_agents_of_the_panel_are_those_of_the_service(client: Client, service: WorkerService) -> None:
    made = client.post("/api/agent-chat/sessions", json={"agent_type": "task"})
    assert made.status_code == 200, made.text
    chat = f"/api/agent-chat/sessions/{made.json()['session_id']}"

    def ask(message: str) -> tuple[str, str | None]:
        asked = client.post(f"{chat}/messages", json={"message": message, "context": {"k": 5}}).json()
        run = client.wait({"id": asked["run_id"]}, timeout=60)["run"]
        return run["status"], run["error"] and run["error"]["message"]

    def refuse_once(*_: object) -> Iterator[bytes]:
        service.status, service.answer = 200, lambda *_: chain(pieces("One, ", "two."), [b"data: [DONE]\n\n"])
        return iter(())

    service.status, service.type, service.answer = 503, "text/event-stream", refuse_once
    assert ask("Plan it") == ("success", None)
    service.answer = lambda *_: pieces("Half")
    assert ask("Once more") == ("error", "Agent service error: the answer was cut off")

    said = [message["content"] for message in client.get(chat).json()["messages"]]
    assert said == ["Plan it", "One, two.", "Once more", "Half"]
    assert service.requests[-1][1] == {"prompt": "Once more", "context": {"k": 5}}
