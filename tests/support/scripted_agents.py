"""A server of models that answers agents by a script, by their role, and has a ledger of what was asked."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from runtime.sdk.loader import Function, load
from runtime.sdk.testing import Result, execute
from runtime.settings import CHECKOUT
from tests.support.fake_model import FakeModel, chunk

USAGE = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
AGENTS = (
    "planner_agent",
    "executor_agent",
    "supervisor_agent",
    "thought_agent",
    "crew_agent",
    "rag_agent",
    "task_agent",
    "document_agent",
)
GOAL = "Map the tides."
Ask = Callable[..., Result]
Reply = Callable[[dict[str, Any]], "str | Iterator[bytes]"]
"""What a member says to a request: a text, or the parts of an answer."""


def saying(words: str, *, thought: str = "", usage: Any = USAGE) -> list[bytes]:
    """An answer, with what the model thinks before it."""
    thoughts = [chunk({"reasoning_content": thought})] if thought else []
    return [
        *thoughts,
        chunk({"content": words}),
        chunk({}, finish="stop"),
        chunk(usage=usage),
        b"data: [DONE]\n\n",
    ]


def plan(*tasks: str, split: tuple[str, ...] = ()) -> str:
    """What a planner says; ``split``: tasks for a crew of their own."""
    split_as = {"split": False} if split else {}
    listed = [
        {
            "title": title,
            "instruction": f"Do {title}.",
            **split_as,
            **({"split": True} if title in split else {}),
        }
        for title in tasks
    ]
    return json.dumps({"tasks": listed})


def decision(what: str, text: str, *tasks: str) -> str:
    """What a supervisor says."""
    listed = [{"title": title, "instruction": f"Do {title}."} for title in tasks]
    return json.dumps({"decision": what, "text": text, "tasks": listed})


def member(request: dict[str, Any]) -> str:
    """Who asks: planner, supervisor or executor."""
    system = str(request["messages"][0]["content"])
    return next(
        name
        for name in ("planner", "supervisor", "executor")
        if f"You are a{'n' * (name[0] == 'e')} {name}" in system
    )


def asked(request: dict[str, Any]) -> str:
    """What it is asked, without instructions."""
    return str(request["messages"][1]["content"])


def script(model: FakeModel, **replies: Reply) -> None:
    """Have the model answer as each of its ``replies``, by who asks."""

    def reply(request: dict[str, Any]) -> Iterator[bytes]:
        said = replies[member(request)](request)
        yield from saying(said) if isinstance(said, str) else said

    model.reply = reply


def ledger(model: FakeModel) -> Counter[str]:
    """How often each request was made."""
    return Counter(json.dumps(request, sort_keys=True) for request in model.requests)


def asker(url: str) -> Ask:
    """What executes the shipped agents, which ask the server at ``url``: ``ask(worker, "text", config=…)``.

    They are loaded once, for each makes a client, which takes long.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", "sk-test")
        patch.setenv("OPENAI_BASE_URL", f"{url}/v1")
        for worker in AGENTS:
            patch.syspath_prepend(f"{CHECKOUT}/workers/{worker}")
        loaded = {worker: load(f"{CHECKOUT}/workers/{worker}/{worker}.py").function for worker in AGENTS}
    return partial(_ask, loaded)


def _ask(loaded: dict[str, Function], worker: str, *said: str, **more: Any) -> Result:
    return execute(loaded[worker], said, calls={**loaded, **more.pop("calls", {})}, **more)
