"""Tasks that depend on each other: whether and in which order they can be done, and how that is written."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

_ID = re.compile(r"[A-Za-z0-9_-]{1,20}")
_MOST_HOURS = 10_000

Task = dict[str, Any]
"""As the model writes it: ``id``, ``title``, ``description``, ``estimate_hours`` and ``depends_on``."""


def in_order(tasks: Sequence[Task]) -> list[Task]:
    """The tasks, each behind those that it depends on. An empty id is no dependency.

    Raises ValueError where that cannot be: an id that is there twice or is none, a dependency that is not
    there, a circle of them, an estimate of nothing.
    """
    tasks = [{**task, "depends_on": [*dict.fromkeys(filter(None, task["depends_on"]))]} for task in tasks]
    places = {task["id"]: place for place, task in enumerate(tasks)}
    for place, task in enumerate(tasks):
        _check(task, places, first=places[task["id"]] == place)
    sorter = TopologicalSorter({task["id"]: task["depends_on"] for task in tasks})
    try:
        sorter.prepare()
    except CycleError as error:
        circle = " → ".join(error.args[1])
        raise ValueError(f"these tasks depend on each other in a circle: {circle}") from None
    ordered = []
    while sorter:
        ready = sorted(sorter.get_ready(), key=places.__getitem__)
        ordered += ready
        sorter.done(*ready)
    return [tasks[places[id]] for id in ordered]


def _check(task: Task, places: Mapping[str, int], *, first: bool) -> None:
    id, missing = task["id"], [other for other in task["depends_on"] if other not in places]
    if not _ID.fullmatch(id):
        raise ValueError(f"the id {id[:40]!r} is no short word such as T1")
    if not first:
        raise ValueError(f"two tasks have the id {id}")
    if missing:
        raise ValueError(f"{id} depends on {missing[0][:40]}, which is no task")
    if not 0 < task["estimate_hours"] <= _MOST_HOURS:
        raise ValueError(f"the estimate of {id} is no number of hours from 0 to {_MOST_HOURS}")


def longest_chain(tasks: Sequence[Task]) -> tuple[list[str], float]:
    """Tasks that have to be done one after the other and take longest, and the hours that these take.

    ``tasks``: in order.
    """
    chains: dict[str, tuple[float, list[str]]] = {}
    for task in tasks:
        hours, chain = max((chains[id] for id in task["depends_on"]), default=(0.0, []))
        chains[task["id"]] = hours + task["estimate_hours"], [*chain, task["id"]]
    hours, chain = max(chains.values())
    return chain, hours


def as_markdown(summary: str, tasks: Sequence[Task]) -> str:
    """The list and, as a diagram of Mermaid, the graph: without a word of ours, in the user's language."""
    return f"{summary}\n\n{_list(tasks)}\n\n```mermaid\n{_diagram(tasks)}\n```".strip()


def _list(tasks: Sequence[Task]) -> str:
    lines = []
    for task in tasks:
        after = f", ← {', '.join(task['depends_on'])}" if task["depends_on"] else ""
        description = " ".join(task["description"].split())
        head = f"- **{task['id']} {' '.join(task['title'].split())}** ({task['estimate_hours']:g} h{after})"
        lines.append(f"{head}: {description}" if description else head)
    return "\n".join(lines)


def _diagram(tasks: Sequence[Task]) -> str:
    # Some words are none for a node, so these have names of their own.
    names = {task["id"]: f"n{number}" for number, task in enumerate(tasks, 1)}
    nodes = [f'  {names[task["id"]]}["{task["id"]} {_label(task["title"])}"]' for task in tasks]
    edges = [f"  {names[id]} --> {names[task['id']]}" for task in tasks for id in task["depends_on"]]
    return "\n".join(["flowchart TD", *nodes, *edges])


def _label(title: str) -> str:
    return " ".join(title.split()).replace('"', "#quot;").replace("`", "'")
