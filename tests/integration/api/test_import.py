"""What an import accepts: nothing that a request could not have made, and nothing that cannot be shown."""

from __future__ import annotations

import copy
import json
from typing import Any

import marshmallow as ma
import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime import transfer
from runtime.errors import Invalid
from runtime.sdk.protocol.values import MAX_LEVELS
from runtime.transfer import format as parts
from tests.support.web import Client
from web.api.schemas import inputs

pytestmark = pytest.mark.timeout(90)

TIME = "2026-01-31T12:00:00Z"
Path = tuple[str | int, ...]


@pytest.fixture
def ada(app: Flask) -> Client:
    client = app.test_client()
    assert isinstance(client, Client)
    return client.sign_up("ada")


def export() -> dict[str, Any]:
    """An export with every field."""
    message = {
        "id": "m", "role": "user", "type": "text", "channel": "answer", "author": "Ada", "content": "Hello",
        "data": {"a": 1}, "status": "complete", "created_at": TIME,
        "files": [{"id": "f", "name": "a.txt", "type": "text/plain", "size": 1}],
    }  # fmt: skip
    run = {
        "id": "run", "parent_run_id": None, "input_state_id": "s", "output_state_id": "s",
        "worker_id": "parrot", "worker_digest": "ab12", "pool": "exec", "config": {"tone": "kind"},
        "args": [1], "status": "error", "attempt": 2, "failures": 1, "max_attempts": 3,
        "timeout_seconds": 60, "priority": 0, "usage": {"tokens": 5},
        "error": {"code": "lost", "message": "Lost.", "retryable": False, "log_tail": "x"},
        "created_at": TIME, "started_at": TIME, "finished_at": TIME,
    }  # fmt: skip
    state = {"run_id": None, "label": "start", "starred": False, "created_at": TIME}
    return {
        "format": "branchline-thread",
        "version": 1,
        "thread": {
            "title": "Trees", "worker_id": "parrot", "config": {}, "metadata": {}, "status": "active",
            "latest_state_id": "s", "created_at": TIME,
        },
        "states": [
            {**state, "id": "r", "parent_id": None, "messages": []},
            {**state, "id": "s", "parent_id": "r", "run_id": "run", "messages": [message]},
        ],
        "runs": [run],
    }  # fmt: skip


def places(node: Any, path: Path = ()) -> list[Path]:
    inner: list[tuple[str | int, Any]] = []
    if isinstance(node, dict):
        inner = [*node.items()]
    elif isinstance(node, list):
        inner = [*enumerate(node)]
    return [path] * bool(path) + [place for name, below in inner for place in places(below, (*path, name))]


def changed(path: Path, value: Any) -> dict[str, Any]:
    data = copy.deepcopy(export())
    node: Any = data
    for name in path[:-1]:
        node = node[name]
    node[path[-1]] = value
    return data


def nested(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def is_refused(schema: ma.Schema, name: str, value: Any) -> bool:
    return name in schema.validate({name: value})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**33), 2**33) | st.floats(allow_nan=False, width=32)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip
VALUES = JSON | st.sampled_from([
    "x" * 201, "x" * 501, "", "parrot", "Parrot", "a b", "../x", "\x1b[2J", "w" * 65, "success", "active",
    "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "yes", "5", -1, 0, 1, 101, -101, 10**9, 2**31,
    7 * 86400 + 1, nested(MAX_LEVELS), nested(MAX_LEVELS + 1), {"a": "x" * 300_000}, "system",
    "assistant", "ff" * 33,
])  # fmt: skip
SETTINGS = settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))

SHARED: list[tuple[type[ma.Schema], str, type[ma.Schema], str]] = [
    (inputs.NewThread, "title", parts.ThreadPart, "title"),
    (inputs.NewThread, "worker_id", parts.ThreadPart, "worker_id"),
    (inputs.ThreadChanges, "config", parts.ThreadPart, "config"),
    (inputs.ThreadChanges, "metadata", parts.ThreadPart, "metadata"),
    (inputs.ThreadChanges, "status", parts.ThreadPart, "status"),
    *((inputs.MessageInput, name, parts.MessagePart, name)
      for name in ("role", "content", "type", "channel", "author", "data")),
    (inputs.StateChanges, "label", parts.StatePart, "label"),
    (inputs.StateChanges, "starred", parts.StatePart, "starred"),
    (inputs.NewRun, "config", parts.RunPart, "config"),
    (inputs.NewRun, "args", parts.RunPart, "args"),
    (inputs.NewRun, "priority", parts.RunPart, "priority"),
    (inputs.NewRun, "timeout", parts.RunPart, "timeout_seconds"),
    (inputs.NewRun, "worker_id", parts.RunPart, "worker_id"),
]  # fmt: skip


@pytest.mark.parametrize("pair", SHARED, ids=lambda pair: f"{pair[2].__name__}.{pair[3]}")
@SETTINGS
@given(VALUES)
def test_what_a_request_may_not_say_an_import_may_not_say(pair: Any, value: Any) -> None:
    request, name, part, imported = pair

    assert not is_refused(request(), name, value) or is_refused(part(), imported, value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("thread", "title"), "x" * 501),
        (("thread", "worker_id"), "../etc"),
        (("thread", "config"), {"a": "x" * 300_000}),
        (("thread", "metadata"), nested(MAX_LEVELS + 1)),
        (("states", 1, "label"), "x" * 201),
        (("states", 1, "starred"), "yes"),
        (("states", 1, "messages", 0, "author"), "x" * 201),
        (("runs", 0, "worker_id"), "a worker\x1b[2J"),
        (("runs", 0, "worker_id"), "x" * 65),
        (("runs", 0, "pool"), "a b"),
        (("runs", 0, "worker_digest"), "not hexadecimal"),
        (("runs", 0, "attempt"), 2**31 - 1),
        (("runs", 0, "attempt"), -1),
        (("runs", 0, "max_attempts"), 10**6),
        (("runs", 0, "failures"), 10**6),
        (("runs", 0, "timeout_seconds"), 1e300),
        (("runs", 0, "timeout_seconds"), "60"),
        (("runs", 0, "timeout_seconds"), -5),
        (("runs", 0, "priority"), 101),
        (("runs", 0, "id"), "x" * 201),
        (("runs", 0, "error", "code"), "x" * 101),
        (("runs", 0, "error", "retryable"), "no"),
    ],
    ids=lambda part: str(part)[:40],
)
def test_an_import_is_refused_with_the_field_that_no_export_has(path: Path, value: Any) -> None:
    assert transfer.load(export())

    with pytest.raises(Invalid) as refused:
        transfer.load(changed(path, value))

    assert path in [error.path for error in refused.value.errors]


def test_what_is_imported_can_be_shown_exported_and_imported_again(ada: Client) -> None:
    """For every field, whatever it holds: refused, or as good as one of our own."""

    @settings(SETTINGS, max_examples=120)
    @given(st.sampled_from(places(export())), VALUES)
    def check(path: Path, value: Any) -> None:
        answer = ada.post("/api/threads/import", json=changed(path, value))
        assert answer.status_code in (201, 422), answer.text
        if answer.status_code == 201:
            show_and_import_again(ada, answer.json["thread"]["id"])

    check()


def show_and_import_again(ada: Client, thread_id: str) -> None:
    at = f"/api/threads/{thread_id}"
    for path in (
        at,
        f"{at}/states",
        f"{at}/snapshot",
        f"/api/runs?thread={thread_id}",
        "/api/threads?limit=1",
    ):
        assert ada.get(path).status_code == 200, path
    for run in ada.get(f"/api/runs?thread={thread_id}").json["items"]:
        for path in ("", "/wait?timeout=0", "/log", "/attempts"):
            assert ada.get(f"/api/runs/{run['id']}{path}").status_code == 200, path
    assert ada.get(f"{at}/export?format=markdown&scope=tree").status_code == 200
    exported = ada.get(f"{at}/export")
    assert exported.status_code == 200
    again = ada.post("/api/threads/import", data=exported.data)
    assert again.status_code == 201, again.text


def test_what_nests_as_deeply_as_it_may_can_be_exported_and_imported_again(ada: Client) -> None:
    deepest = nested(MAX_LEVELS)
    thread = ada.thread(metadata=deepest, config=deepest)
    ada.post(
        f"/api/threads/{thread['id']}/states",
        json={
            "parent_id": thread["root_state_id"],
            "messages": [{"role": "user", "content": "x", "data": deepest}],
        },
    )
    accepted = ada.ask(thread, args=deepest)
    assert accepted.status_code == 202, accepted.text

    show_and_import_again(ada, thread["id"])
    assert ada.post("/api/threads", json={"metadata": nested(MAX_LEVELS + 1)}).status_code == 422


def test_the_fields_of_the_export_above_are_those_of_the_format() -> None:
    data = json.loads(json.dumps(export()))

    assert set(data["runs"][0]) == set(parts.RunPart().fields)
    assert set(data["states"][0]) == set(parts.StatePart().fields)
    assert set(data["thread"]) == set(parts.ThreadPart().fields)
    assert set(data["states"][1]["messages"][0]) == set(parts.MessagePart().fields)
    assert set(data["states"][1]["messages"][0]["files"][0]) == set(parts.FilePart().fields)
