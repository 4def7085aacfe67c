"""A supervisor: a model judges what has come of a goal's tasks, and says what comes next, as JSON."""

from __future__ import annotations

import json
from typing import Any

import jsonschema  # noqa: F401 - before the host forks, for it takes a while

from runtime.sdk import Failure, Run, chat_server
from runtime.sdk.durable_answers import ask_for_json

_CLIENT = chat_server.client()
_INSTRUCTIONS = """You are a supervisor. You are told a goal, and what has come of the tasks that it was
split into. Judge whether the goal is reached, and decide:

- "answer": it is. "text" is the answer to whoever set the goal: it joins what the tasks have found, and is
  all that they see. "tasks" is empty.
- "repair": something is missing, wrong or has failed, and can be mended. "text" says what, in a sentence.
  "tasks" has at most {most} new ones that mend it. They are worked on at the same time, each by somebody
  who sees the goal, what has come of the tasks so far, and that task. Ask for nothing that is there.
- "stop": the goal cannot be reached, or must not be. "text" says why, in a sentence. "tasks" is empty.

Answer with JSON, and nothing else: {{"decision": "answer", "repair" or "stop", "text": "…",
"tasks": [{{"title": "a few words", "instruction": "what is to be done"}}]}}"""


def run(run: Run) -> None:
    """Decide; the decision is a message of code in JSON."""
    most = run.config.get("max_tasks", 5)
    system = "\n\n".join(
        part for part in (run.config.get("system_prompt"), _INSTRUCTIONS.format(most=most)) if part
    )
    conversation = run.as_openai(system=system, tools=False)
    if conversation[-1]["role"] == "system":
        raise Failure("There is nothing to judge.")
    run.step("Judging")
    decision = ask_for_json(
        run,
        "decision",
        _CLIENT,
        chat_server.model_of(run),
        conversation,
        schema=schema_of(most),
        read=_checked,
        structured=run.config.get("structured_output", True),
    )
    run.message(json.dumps(decision, ensure_ascii=False, indent=2), type="code", data={"language": "json"})
    if decision["decision"] != "repair":
        run.finish(f"The supervisor says: {decision['decision']}.")


def schema_of(most: int) -> dict[str, Any]:
    """Of a decision that asks for at most so many tasks."""
    # Every property is required, and no other is allowed: servers that are strict want it so.
    closed = {"type": "object", "additionalProperties": False}
    texts = {"title": {"type": "string"}, "instruction": {"type": "string"}}
    task = {**closed, "properties": texts, "required": [*texts]}
    properties = {
        "decision": {"enum": ["answer", "repair", "stop"]},
        "text": {"type": "string"},
        "tasks": {"type": "array", "items": task, "maxItems": most},
    }
    return {**closed, "properties": properties, "required": [*properties]}


def _checked(value: dict[str, Any]) -> dict[str, Any]:
    """A decision that makes sense. Raises ValueError."""
    if not value["text"].strip():
        raise ValueError("the text is empty")
    if value["decision"] == "repair" and not value["tasks"]:
        raise ValueError("a repair has at least one task")
    return value
