"""What users attach, as the workers for models give it to them: in the shape of the model's maker."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest

from runtime.child import protocol
from tests.support.fake_model import HELLO, REGISTRY, FakeModel, chunk, event
from tests.support.frameworks import need
from tests.support.node_sdk import needs_node

PICTURE, PAPER, NOTES = b"\x89PNG\r\n\x1a\n a picture", b"%PDF-1.7 a paper", b"a note"
FILES = {
    "p1": ("dot.png", "image/png", PICTURE),
    "d1": ("paper.pdf", "application/pdf", PAPER),
    "n1": ("notes.txt", "text/plain", NOTES),
}
URLS = {id: f"data:{type};base64,{b64encode(content).decode()}" for id, (_, type, content) in FILES.items()}
TEXT = "File notes.txt:\n\na note"
CHAT = [
    {"type": "image_url", "image_url": {"url": URLS["p1"]}},
    {"type": "file", "file": {"filename": "paper.pdf", "file_data": URLS["d1"]}},
    {"type": "text", "text": TEXT},
    {"type": "text", "text": "What is this?"},
]
RESPONSES = [
    {"type": "input_image", "image_url": URLS["p1"], "detail": "auto"},
    {"type": "input_file", "filename": "paper.pdf", "file_data": URLS["d1"]},
    {"type": "input_text", "text": TEXT},
    {"type": "input_text", "text": "What is this?"},
]
ANTHROPIC = [
    {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": b64encode(PICTURE).decode()},
    },
    {
        "type": "document",
        "source": {"type": "base64", "media_type": "application/pdf", "data": b64encode(PAPER).decode()},
        "title": "paper.pdf",
    },
    {"type": "text", "text": TEXT},
    {"type": "text", "text": "What is this?"},
]


BEHIND_CHAT_COMPLETIONS = (
    "openai_worker",
    "tool_agent",
    "node_agent",
    "langgraph_worker",
    "openai_agents_worker",
    "pydantic_ai_worker",
)
LIBRARIES = {
    "langgraph_worker": ["langgraph"],
    "openai_agents_worker": ["agents"],
    "pydantic_ai_worker": ["pydantic_ai"],
}


def marked(worker: str) -> Any:
    """A worker with what its tests need."""
    marks = [needs_node] if worker == "node_agent" else []
    return pytest.param(worker, marks=[*marks, *[pytest.mark.frameworks] * (worker in LIBRARIES)])


def message(model: FakeModel) -> dict[str, Any]:
    """One of the user that names all files, whose contents the server has."""
    model.files = {id: content for id, (_, _, content) in FILES.items()}
    files = [
        {"id": id, "name": name, "type": type, "size": len(content)}
        for id, (name, type, content) in FILES.items()
    ]
    return {"role": "user", "type": "text", "content": "What is this?", "files": files}


def openai_answer() -> Iterator[bytes]:
    yield from (chunk({"role": "assistant", "content": "A dot."}), chunk({}, finish="stop"))
    yield b"data: [DONE]\n\n"


def anthropic_answer() -> Iterator[bytes]:
    yield event("content_block_delta", index=0, delta={"type": "text_delta", "text": "A dot."})
    yield event("message_stop")


def given(model: FakeModel) -> Any:
    """What the model was given of the user."""
    request = model.requests[0]
    [content] = [
        one["content"] for one in request.get("messages", request.get("input")) if one["role"] == "user"
    ]
    return content


@pytest.mark.parametrize("worker", [marked(worker) for worker in BEHIND_CHAT_COMPLETIONS])
def test_what_is_attached_reaches_a_model_behind_chat_completions(
    model: FakeModel, say: Any, worker: str
) -> None:
    need(*LIBRARIES.get(worker, ()))
    model.answer = openai_answer

    said = say(worker, message(model), worker_api=model.url)

    assert said[-1] == protocol.Done(), said
    picture, document, *texts = given(model)
    picture["image_url"].pop("detail", None)  # a library may say what is the default
    if worker == "pydantic_ai_worker":
        document["file"]["filename"] = "paper.pdf"  # it names all documents alike
    assert [picture, document, *texts] == CHAT


def test_what_is_attached_to_a_message_under_way_reaches_its_model(model: FakeModel, say: Any) -> None:
    model.answer = openai_answer

    said = say("tool_agent", HELLO, worker_api=model.url, inbox=[message(model)])

    assert said[-1] == protocol.Done(), said
    assert model.requests[1]["messages"][-1] == {"role": "user", "content": CHAT}


def test_what_is_attached_reaches_a_model_behind_the_responses_api(model: FakeModel, say: Any) -> None:
    say("openai_worker", message(model), worker_api=model.url, api="responses")

    assert given(model) == RESPONSES


def test_what_is_attached_reaches_a_model_of_anthropic(model: FakeModel, say: Any) -> None:
    model.answer = anthropic_answer

    said = say("anthropic_worker", message(model), worker_api=model.url)

    assert said[-1] == protocol.Done(), said
    assert given(model) == ANTHROPIC


@pytest.mark.parametrize("worker", [*BEHIND_CHAT_COMPLETIONS, "anthropic_worker"])
def test_the_workers_for_models_say_that_they_take_files(worker: str) -> None:
    found = REGISTRY.get(worker)

    assert found is not None and all(found.takes(type) for _, type, _ in FILES.values())
    assert not found.takes("application/zip")
