"""What interrupts an agent, as questions to the run's user."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..messages import Json
from .rules import plain

if TYPE_CHECKING:
    from ..run import Run

_PROMPTS = ("prompt", "question", "message", "query", "description", "text")
"""Where an interrupt that is an object has what it asks."""


class Question(NamedTuple):
    """What :meth:`runtime.sdk.run.Run.confirm` asks."""

    prompt: str
    options: Sequence[str] = ()
    schema: dict[str, Json] | None = None

    def ask(self, run: Run) -> Json:
        """The user's answer."""
        return run.confirm(self.prompt, options=self.options, schema=self.schema)


def call_to_approve(name: str, arguments: Json, options: Sequence[str] = ("approve", "reject")) -> Question:
    """The question whether a function is to be called."""
    return Question(f"Call {_call(name, arguments)}?", tuple(options))


def result_of_call(name: str, arguments: Json) -> Question:
    """The question what a function returns that somebody else executes."""
    return Question(f"What is the result of {_call(name, arguments)}?")


def questions_of(value: Any, schema: Any = None) -> list[Question]:
    """What an interrupt asks: a text, an object with one, or calls that are to be approved.

    The last are those of LangChain's HumanInTheLoopMiddleware, with one question each.
    """
    if isinstance(value, Mapping):
        if "action_requests" in value:
            return [_approval(action, value) for action in value["action_requests"]]
        prompt = next((value[name] for name in _PROMPTS if isinstance(value.get(name), str)), None)
        options = value.get("options") or ()
        if prompt and isinstance(options, Sequence):
            chosen = schema or value.get("schema")
            return [Question(prompt, tuple(map(str, options)), chosen if isinstance(chosen, dict) else None)]
    text = value if isinstance(value, str) else json.dumps(plain(value), ensure_ascii=False, indent=2)
    return [Question(text or "Go on?", (), schema if isinstance(schema, dict) else None)]


def answer_of(value: Any, answers: Iterator[Json]) -> Json:
    """What an interrupt is answered, of the next of the ``answers``."""
    if isinstance(value, Mapping) and "action_requests" in value:
        return {"decisions": [{"type": next(answers)} for _ in value["action_requests"]]}
    return next(answers)


def _approval(action: Mapping[str, Json], request: Mapping[str, Json]) -> Question:
    """An answer that changes the arguments is not offered."""
    configs = {one.get("action_name"): one for one in request.get("review_configs") or ()}
    allowed = (configs.get(action["name"]) or {}).get("allowed_decisions") or ("approve", "reject")
    options = [one for one in allowed if one in ("approve", "reject")]
    question = call_to_approve(action["name"], action.get("args") or action.get("arguments"), options)
    return question._replace(prompt=action["description"]) if action.get("description") else question


def _call(name: str, arguments: Json) -> str:
    shown = arguments if isinstance(arguments, str) else json.dumps(plain(arguments), ensure_ascii=False)
    return f"{name} with {shown}"
