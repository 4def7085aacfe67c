"""The contract of worker types: whatever a worker is written in, and wherever, a run of it is the same.

One small worker is written for each type (``tests/workers_of_types``, and here the one that is a web
service; a machine elsewhere executes the one in Python). It says "so far", and then does what its mode
says.
"""

from __future__ import annotations

import itertools
import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from runtime.settings import CHECKOUT
from runtime.testing.client import Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from runtime.testing.waiting import until
from tests.support.machine_elsewhere import MachineElsewhere
from tests.support.worker_service import WorkerService

WITHIN = 60.0
"""Seconds that a run may take on a busy machine."""
TYPES = ["python", "node", "exec", "http", "remote"]
SOURCE = CHECKOUT / "tests" / "workers_of_types"
NOT_YET: dict[tuple[str, str], str] = {}
"""What a type cannot do so far, and why."""


@dataclass(frozen=True)
class Mode:
    """What becomes of a run, by the API."""

    status: str = "success"
    answer: str = "so far"
    code: str | None = None
    """Of its error."""
    error: str = ""
    """What is in its error's message."""
    timeout: float | None = None
    act: Callable[[Client, dict[str, Any]], None] = lambda client, run: None
    """What the user does meanwhile."""


def is_said(client: Client, run: dict[str, Any]) -> None:
    """Wait until the run has said something."""
    with client.stream(f"/api/runs/{run['id']}/events") as events:
        next(event for event in events if event.type == "message.delta")


def cancel(client: Client, run: dict[str, Any]) -> None:
    is_said(client, run)
    client.post(f"/api/runs/{run['id']}/cancel").raise_for_status()


def steer(client: Client, run: dict[str, Any]) -> None:
    is_said(client, run)
    body = {"messages": [{"role": "user", "content": "and birds?"}]}
    client.post(f"/api/runs/{run['id']}/messages", json=body).raise_for_status()


def reply(client: Client, run: dict[str, Any]) -> None:
    until(lambda: client.run(run)["status"] == "waiting", WITHIN)
    asked = client.run(run)["confirmation"]
    body = {"confirmation_id": asked["id"], "answer": "yes"}
    client.post(f"/api/runs/{run['id']}/answer", json=body).raise_for_status()


MODES = {
    "ok": Mode(),
    "raise": Mode("error", code="worker_error", error="as you asked"),
    "hang": Mode("timeout", code="timeout", timeout=3),
    "crash": Mode("error", code="worker_crashed", error="ended with exit code 3"),
    "garbage": Mode(answer="so far and on"),
    "flood": Mode(answer="so far" + 5000 * "."),
    "question": Mode(answer="so far|Shall I?| yes", act=reply),
    "once": Mode(answer="so far 1 1"),
    "call": Mode(answer="so far so far"),
    "steer": Mode(answer="so far|and birds?|and birds?", act=steer),
    "cancel": Mode("cancelled", answer="so far cleaned up", act=cancel),
    "continue": Mode(answer="so far and on"),
}


OTHERWISE = {
    # Its connection is gone, and what it says is not heard.
    ("http", "cancel"): Mode("cancelled", act=cancel),
    # There is no exit code of a service.
    ("http", "crash"): Mode("error", code="worker_error", error="ended its answer without `done`"),
}
"""What becomes of the runs of one type."""


@pytest.fixture(scope="module")
def service() -> Iterator[WorkerService]:
    service = WorkerService()
    service.answer = served
    yield service
    service.close()


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory,
    stack_redis: RedisServer,
    stack_database_url: str,
    service: WorkerService,
) -> Iterator[Stack]:
    """One pool has the workers of all types, but for those of the machine elsewhere."""
    home = tmp_path_factory.mktemp("stack")
    derive(home / "workers" / "http", "node", "http", code=f'url = "{service.url}"')
    derive(home / "workers" / "remote", "node", "remote", code="", pool="remote")
    settings = {
        "WORKERS_PATH": f"{SOURCE}:{home}/workers",
        "BRANCHLINE_RUN_RETRY_BACKOFF": "0",
    }
    with Stack(home, stack_database_url, stack_redis.url, ("types", "remote"), **settings) as stack:
        folder = home / "elsewhere" / "remote"
        derive(folder, "python", "remote", type="python")
        token = stack.run("token", "create", "--pool", "remote").strip()
        machine = MachineElsewhere(stack.url, token, folder, slots=2)
        yield stack
        machine.kill()


def derive(
    folder: Path, origin: str, kind: str, *, type: str = "", code: str | None = None, pool: str = "types"
) -> None:
    """Make the folder of the worker ``typed-<kind>`` from that of another one, with its code unless given."""
    shutil.copytree(SOURCE / origin, folder)
    manifest = (SOURCE / origin / "worker.toml").read_text().replace(origin, kind)
    manifest = manifest.replace(f'type = "{kind}"', f'type = "{type or kind}"')
    manifest = manifest.replace('pool = "types"', f'pool = "{pool}"')
    lines = [code if code is not None and "entrypoint" in line else line for line in manifest.splitlines()]
    (folder / "worker.toml").write_text("\n".join(lines))


def table() -> Iterator[Any]:
    for kind in TYPES:
        for name, mode in MODES.items():
            reason = NOT_YET.get((kind, name))
            marks = [pytest.mark.skip(reason=f"not yet: {reason}")] if reason else []
            mode = OTHERWISE.get((kind, name), mode)
            yield pytest.param(kind, name, mode, id=f"{kind}-{name}", marks=marks)


@pytest.mark.parametrize(
    "stack_database_url", [pytest.param("sqlite", marks=pytest.mark.slow), "postgresql"], indirect=True
)
@pytest.mark.parametrize(("kind", "name", "mode"), [*table()])
def test_a_run_of_every_type_is_the_same(client: Client, kind: str, name: str, mode: Mode) -> None:
    if kind == "node" and shutil.which("node") is None:
        pytest.skip("needs Node.js")
    options = {"worker_id": f"typed-{kind}", "config": {"mode": name}, "timeout": mode.timeout}
    run = client.ask(client.thread(), "hi", **options)["runs"][0]

    mode.act(client, run)

    ended = client.wait(run, timeout=WITHIN)
    assert ended["run"]["status"] == mode.status, ended["run"]["error"]
    assert said_in(ended) == mode.answer
    error = ended["run"]["error"] or {"code": None, "message": ""}
    assert error["code"] == mode.code
    assert mode.error in error["message"]


def said_in(ended: dict[str, Any]) -> str:
    return "|".join(message["content"] for message in ended["messages"])


# ── the worker as a web service ─────────────────────────────────────────────


def line(**event: Any) -> bytes:
    return json.dumps(event).encode() + b"\n"


def delta(text: str) -> bytes:
    return line(type="delta", text=text)


def api(headers: dict[str, str]) -> httpx.Client:
    """The Worker API of the run that these headers name."""
    url = f"{headers['X-Branchline-Api-Url']}/worker/runs/{headers['X-Branchline-Run-Id']}"
    shown = {"Authorization": headers["Authorization"]}
    return httpx.Client(base_url=url, headers=shown, timeout=2 * WITHIN, trust_env=False)


def ask(headers: dict[str, str], **asked: Any) -> Any:
    """What the pool answers to a line."""
    with api(headers) as client:
        return client.post("/requests", json=asked).json()


def served(body: dict[str, Any], headers: dict[str, str]) -> Iterator[bytes]:
    """Do what ``config.mode`` names."""
    mode = body["config"]["mode"]
    if not body["open"] and not body["answers"]:
        yield delta("so far")
    match mode:
        case "raise":
            yield line(type="error", message="as you asked", retryable=False)
            return
        case "hang" | "cancel":
            while True:  # until the connection ends
                yield b"\n"
                time.sleep(0.05)
        case "crash":
            return
        case "garbage":
            yield b'plain words\n[1,2]\n{"type":"nonsense"}\n'
            yield delta(" and on")
        case "flood":
            for _ in range(5000):
                yield delta(".")
        case "question":
            if not body["answers"]:
                yield line(type="confirm", id="1", prompt="Shall I?", options=["yes", "no"])
                return
            yield delta(f" {body['answers'][0]['answer']}")
        case "once":
            kept = ask(headers, type="save", key="paid", value=body["run"]["attempt"])
            yield delta(f" {kept.get('value', body['run']['attempt'])}")
            if body["run"]["attempt"] == 1:
                yield line(type="error", message="again", retryable=True)
                return
        case "call":
            called = ask(headers, type="call", id="a", worker_id="typed-exec", config={"mode": "ok"})
            with api(headers) as client:
                result = client.get(f"/calls/{called['run_id']}", params={"timeout": WITHIN}).json()
            yield delta(f" {result['messages'][0]['content']}")
        case "steer":
            for number in itertools.count(1):
                if message := ask(headers, type="inbox", number=number)["message"]:
                    yield delta(message["content"])
                    break
                time.sleep(0.1)
        case "continue":
            if not body["open"]:
                yield line(type="error", message="again", retryable=True)
                return
            yield delta(" and on")
    yield line(type="done")
