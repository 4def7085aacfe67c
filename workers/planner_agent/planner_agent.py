"""A planner: a model splits the goal of a conversation into tasks, as JSON that a schema checks."""

from __future__ import annotations

import json
from typing import Any

import jsonschema  # noqa: F401 - before the host forks, for it takes a while

from runtime.sdk import Failure, Run, chat_server
from runtime.sdk.durable_answers import ask_for_json

_CLIENT = chat_server.client()
_INSTRUCTIONS = """You are a planner. Split the goal of this conversation into at most {most} tasks.

All tasks are worked on at the same time, each by somebody who sees the goal and that task and nothing
of the others. So no task needs the result of another one, and together they reach the goal. One task is
enough where there is nothing to split.{split}

Answer with JSON, and nothing else: {{"tasks": [{{"title": "a few words", "instruction": "what is to be
done, and what is to come of it"{example}}}]}}"""
_SPLIT = ' Where a task is so large that it should be split itself, "split" is true, else false.'


def run(run: Run) -> None:
    """Plan; the tasks are a message of code in JSON."""
    most, may_split = run.config.get("max_tasks", 5), run.config.get("may_split", False)
    instructions = _INSTRUCTIONS.format(
        most=most, split=_SPLIT if may_split else "", example=', "split": false' if may_split else ""
    )
    system = "\n\n".join(part for part in (run.config.get("system_prompt"), instructions) if part)
    conversation = run.as_openai(system=system, tools=False)
    if conversation[-1]["role"] == "system":
        raise Failure("There is no goal to plan for.")
    run.step("Planning")
    plan = ask_for_json(
        run,
        "plan",
        _CLIENT,
        chat_server.model_of(run),
        conversation,
        schema=schema_of(most, may_split),
        structured=run.config.get("structured_output", True),
    )
    run.message(json.dumps(plan, ensure_ascii=False, indent=2), type="code", data={"language": "json"})


def schema_of(most: int, may_split: bool) -> dict[str, Any]:
    """Of a plan: at most so many tasks, which may be to be split themselves."""
    properties = {"title": {"type": "string"}, "instruction": {"type": "string"}}
    if may_split:
        properties["split"] = {"type": "boolean"}
    # Every property is required, and no other is allowed: servers that are strict want it so.
    closed = {"type": "object", "additionalProperties": False}
    task = {**closed, "properties": properties, "required": [*properties]}
    tasks = {"type": "array", "items": task, "minItems": 1, "maxItems": most}
    return {**closed, "properties": {"tasks": tasks}, "required": ["tasks"]}
