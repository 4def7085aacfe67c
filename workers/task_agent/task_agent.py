"""Splits a feature into tasks with dependencies and estimates, as a list and a graph.

What the model answers is JSON that is checked by its schema, and by what makes a plan of it: no task depends
on itself by a detour. What cannot be used is told the model, once.
"""

from __future__ import annotations

from typing import Any

import jsonschema  # noqa: F401 - before the host forks, for it takes a while
from task_graph import as_markdown, in_order, longest_chain

from runtime.sdk import Failure, Run, chat_server
from runtime.sdk.durable_answers import ask_for_json

_CLIENT = chat_server.client()
_DETAIL = {
    "low": (5, "Few tasks, each described in a sentence."),
    "medium": (10, "Each is described in two or three sentences."),
    "high": (20, "Each is described step by step, with what shows that it is done."),
}
"""By level: the most tasks, and how they are described."""
_INSTRUCTIONS = """You plan the work on a feature of a software product. Split what this conversation asks for
into at most {most} tasks that one person can do each. {how} Where tasks were listed before, what is said
now changes them: keep the ids of those that stay.

A task has an id such as T1, a title of a few words, a description, an estimate in hours, and the ids of
the tasks that have to be done before it: only those that it really needs, and never in a circle. The
summary says in a sentence or two what is built. Write it, titles and descriptions in the language of the
last message of the user.

Answer with JSON, and nothing else: {{"summary": "…", "tasks": [{{"id": "T1", "title": "…",
"description": "…", "estimate_hours": 2, "depends_on": []}}]}}"""


def run(run: Run) -> None:
    """Plan; the tasks are the data of the message that lists them."""
    detail, project_id = _wishes(run)
    most, how = _DETAIL[detail]
    instructions = _INSTRUCTIONS.format(most=most, how=how)
    system = "\n\n".join(part for part in (run.config.get("system_prompt"), instructions) if part)
    conversation = run.as_openai(system=system, tools=False)
    if all(message["role"] == "system" for message in conversation):
        raise Failure("There is no feature to plan.")
    run.step("Planning the tasks")
    plan = ask_for_json(
        run,
        "tasks",
        _CLIENT,
        chat_server.model_of(run),
        conversation,
        schema=_schema(most),
        read=lambda plan: {**plan, "tasks": in_order(plan["tasks"])},
        structured=run.config.get("structured_output", True),
    )
    summary, tasks = " ".join(plan["summary"].split()), plan["tasks"]
    chain, hours = longest_chain(tasks)
    data = {
        "project_id": project_id,
        "summary": summary,
        "tasks": tasks,
        "total_hours": sum(task["estimate_hours"] for task in tasks),
        "longest_chain": chain,
        "longest_chain_hours": hours,
    }
    run.message(as_markdown(summary, tasks), data=data)


def _wishes(run: Run) -> tuple[str, str | None]:
    """How detailed the plan is, and the label of the project: as the client says, else as configured.

    Raises Failure where that cannot be.
    """
    sent = run.args if isinstance(run.args, dict) else {}
    detail = sent.get("detail_level") or run.config.get("detail_level", "medium")
    project_id = sent.get("project_id")
    if not isinstance(detail, str) or detail not in _DETAIL:
        raise Failure(f"detail_level is {', '.join(_DETAIL)}, not {detail!r}.")
    if project_id is not None and not isinstance(project_id, str):
        raise Failure(f"project_id is a text, not {project_id!r}.")
    return detail, project_id


def _schema(most: int) -> dict[str, Any]:
    """Of a plan. Every property is required, and no other is allowed: servers that are strict want it so."""
    text, closed = {"type": "string"}, {"type": "object", "additionalProperties": False}
    properties = {
        "id": text,
        "title": text,
        "description": text,
        "estimate_hours": {"type": "number"},
        "depends_on": {"type": "array", "items": text},
    }
    task = {**closed, "properties": properties, "required": [*properties]}
    tasks = {"type": "array", "items": task, "minItems": 1, "maxItems": most}
    return {**closed, "properties": {"summary": text, "tasks": tasks}, "required": ["summary", "tasks"]}
