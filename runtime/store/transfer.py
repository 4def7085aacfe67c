"""Threads out of and into Branchline: the whole tree or one path, as JSON or as Markdown.

An import makes new ids, so that the same export can be imported twice, and its
runs have all ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection

from runtime.model import TERMINAL, Json, Message, RunError, RunStatus, State, Thread, encode_time, new_id
from runtime.store import markdown, states, threads
from runtime.store.messages import COLUMNS, record, save
from runtime.store.tables import messages, runs
from runtime.store.tables import states as states_table
from runtime.store.tables import threads as threads_table
from runtime.store.thread_export import FORMAT, VERSION, MessagePart, RunPart, StatePart

T = TypeVar("T")

_PAGE = 1000
_AT_ONCE = 500
"""Rows that are written or read in one step, after which under gevent others have their turns."""
_CUT_SHORT = RunError("cancelled", "The run had not ended when its thread was exported.")


def export_thread(
    c: Connection, workspace_id: str, thread_id: str, end: str | None = None
) -> dict[str, Json]:
    """The whole tree as JSON, or the path to the state ``end`` alone. Raises NotFound.

    To be read as a picture, else what is committed meanwhile would be exported in part.
    """
    thread = threads.get(c, workspace_id, thread_id)
    grown = [_plain(row) for row in c.execute(_ALL_STATES, {"thread": thread_id})]
    parents = {state["id"]: state["parent_id"] for state in grown}
    way = set(_way(parents, end)) if end else parents.keys()
    said = _said(c, thread_id, _message_part)
    return {
        "format": FORMAT,
        "version": VERSION,
        "thread": {
            "title": thread.title,
            "worker_id": thread.worker_id,
            "config": dict(thread.config),
            "metadata": dict(thread.metadata),
            "status": thread.status,
            "latest_state_id": end or thread.latest_state_id,
            "created_at": encode_time(thread.created_at),
        },
        "states": [{**state, "messages": said.get(state["id"], [])} for state in grown if state["id"] in way],
        "runs": [
            _plain(row) for row in c.execute(_ALL_RUNS, {"thread": thread_id}) if row.output_state_id in way
        ],
    }


def import_thread(c: Connection, *, workspace_id: str, user_id: str, export: Mapping[str, Any]) -> Thread:
    """A new thread made of an export as :func:`thread_export.load` gives it; its runs have all ended.

    Each statement is small, so that under gevent others have their turns in between, and the
    server need not wait long for the next one.
    """
    about, parts = export["thread"], export["states"]
    thread = threads.create(
        c,
        workspace_id=workspace_id,
        user_id=user_id,
        title=about["title"],
        worker_id=about["worker_id"],
        config=about["config"],
        metadata=about["metadata"],
    )
    state_ids = {**_new_ids(parts[1:]), parts[0]["id"]: thread.root_state_id}
    run_ids = _new_ids(export["runs"])
    grown = _grow(thread, parts, state_ids, run_ids)
    c.execute(_SET_ROOT, {"root": thread.root_state_id, **_marks(next(grown))})
    for some in _portions(grown):
        states.insert(c, some)
    for some_said in _portions(_messages(parts, state_ids, run_ids)):
        save(c, some_said)
    for some_runs in _portions(_run(thread, part, state_ids, run_ids) for part in export["runs"]):
        c.execute(_INSERT_RUNS, some_runs)
    latest = state_ids.get(about["latest_state_id"], state_ids[parts[-1]["id"]])
    c.execute(_SET_THREAD, {"thread": thread.id, "latest": latest, "shown_as": about["status"]})
    return threads.get(c, workspace_id, thread.id)


def export_path(c: Connection, workspace_id: str, state_id: str) -> str:
    """What was said from the root to a state, as Markdown. Raises NotFound."""
    thread_id = states.get(c, workspace_id, state_id).thread_id
    title = threads.get(c, workspace_id, thread_id).title
    said: list[Message] = []
    cursor: str | None = None
    while True:
        window = states.history(c, workspace_id, state_id, limit=_PAGE, cursor=cursor)
        said[:0] = window.items
        if (cursor := window.next) is None:
            break
    return markdown.render(title, said)


def export_tree(c: Connection, thread: Thread) -> str:
    """What was said on every branch, as Markdown. To be read as a picture."""
    parents = {row.id: row.parent_id for row in c.execute(_ALL_STATES, {"thread": thread.id})}
    return markdown.render_tree(thread.title, parents, _said(c, thread.id, record))


# ── records and rows of what is imported ────────────────────────────────────


def _new_ids(parts: list[dict[str, Any]]) -> dict[str, str]:
    """A new id for each part, in the same order."""
    return dict(zip((part["id"] for part in parts), sorted(new_id() for _ in parts), strict=True))


def _portions(rows: Iterable[T]) -> Iterator[list[T]]:
    """The rows of one statement after the other. A state alone may have more messages than one takes."""
    left = iter(rows)
    while some := [*islice(left, _AT_ONCE)]:
        yield some


def _grow(
    thread: Thread, parts: list[dict[str, Any]], state_ids: Mapping[str, str], run_ids: Mapping[str, str]
) -> Iterator[State]:
    """The states of the new tree without messages, each with its depth and its place among its siblings."""
    children: dict[str, int] = {}
    for part in parts[1:]:
        children[part["parent_id"]] = children.get(part["parent_id"], 0) + 1
    depths: dict[str | None, int] = {None: -1}
    placed: dict[str | None, int] = {}
    for part in parts:
        parent_id = part["parent_id"]
        depths[part["id"]] = depths[parent_id] + 1
        placed[parent_id] = placed.get(parent_id, -1) + 1
        yield State(
            id=state_ids[part["id"]],
            thread_id=thread.id,
            parent_id=None if parent_id is None else state_ids[parent_id],
            depth=depths[part["id"]],
            ordinal=placed[parent_id],
            children=children.get(part["id"], 0),
            run_id=run_ids.get(part["run_id"]),
            label=part["label"],
            starred=part["starred"],
            created_at=part["created_at"],
        )


def _messages(
    parts: list[dict[str, Any]], state_ids: Mapping[str, str], run_ids: Mapping[str, str]
) -> Iterator[Message]:
    for part in parts:
        state_id, run_id = state_ids[part["id"]], run_ids.get(part["run_id"])
        for position, said in enumerate(part["messages"]):
            made = {**said, "id": new_id(), "created_at": said["created_at"] or part["created_at"]}
            yield Message(**made, state_id=state_id, position=position, run_id=run_id)


def _marks(root: State) -> dict[str, Json]:
    return {"number": root.children, "named": root.label, "marked": root.starred}


def _run(
    thread: Thread, part: Mapping[str, Any], state_ids: Mapping[str, str], run_ids: Mapping[str, str]
) -> dict[str, Any]:
    ended = part["status"] in TERMINAL
    finished_at = part["finished_at"] or part["created_at"]
    return {
        **part,
        "id": run_ids[part["id"]],
        "thread_id": thread.id,
        "workspace_id": thread.workspace_id,
        "user_id": thread.user_id,
        "parent_run_id": run_ids.get(part["parent_run_id"]),
        "input_state_id": state_ids[part["input_state_id"]],
        "output_state_id": state_ids[part["output_state_id"]],
        "status": part["status"] if ended else RunStatus.CANCELLED,
        "error": part["error"] if ended else _CUT_SHORT.encode(),
        "answers": [],
        "finished_at": finished_at,
        "announced_at": finished_at,
    }


# ── what is exported ────────────────────────────────────────────────────────


def _said(c: Connection, thread_id: str, part: Callable[[sa.Row[Any]], T]) -> dict[str, list[T]]:
    """All that was said in a thread, by state, each message as ``part`` makes it of its row."""
    said: dict[str, list[T]] = {}
    for row in c.execute(_ALL_MESSAGES, {"thread": thread_id}):
        said.setdefault(row.state_id, []).append(part(row))
    return said


def _way(parents: Mapping[str, str | None], end: str) -> Iterator[str]:
    """The states from ``end`` to the root."""
    at: str | None = end
    while at is not None:
        yield at
        at = parents[at]


def _message_part(row: sa.Row[Any]) -> dict[str, Json]:
    whole = record(row).encode()
    return {name: whole[name] for name in _OF_MESSAGE}


def _plain(row: sa.Row[Any]) -> dict[str, Json]:
    return {
        str(name): encode_time(value) if name.endswith("_at") else value
        for name, value in row._mapping.items()
    }


_OF_MESSAGE = tuple(MessagePart().fields)
_THREAD = sa.bindparam("thread", type_=threads_table.c.id.type)
_ALL_STATES = (
    sa.select(*(states_table.c[name] for name in StatePart().fields if name != "messages"))
    .where(states_table.c.thread_id == _THREAD)
    .order_by(states_table.c.depth, states_table.c.parent_id, states_table.c.ordinal)
    .execution_options(yield_per=_AT_ONCE)
)
_ALL_MESSAGES = (
    sa.select(*COLUMNS)
    .join(states_table, states_table.c.id == messages.c.state_id)
    .where(states_table.c.thread_id == _THREAD, ~messages.c.void)
    .order_by(messages.c.state_id, messages.c.position)
    .execution_options(yield_per=_AT_ONCE)
)
_ALL_RUNS = (
    sa.select(*(runs.c[name] for name in RunPart().fields))
    .where(runs.c.thread_id == _THREAD)
    .order_by(runs.c.id)
    .execution_options(yield_per=_AT_ONCE)
)
_INSERT_RUNS = runs.insert()
_SET_ROOT = (
    states_table.update()
    .where(states_table.c.id == sa.bindparam("root", type_=states_table.c.id.type))
    .values(children=sa.bindparam("number"), label=sa.bindparam("named"), starred=sa.bindparam("marked"))
)
_SET_THREAD = (
    threads_table.update()
    .where(threads_table.c.id == _THREAD)
    .values(
        latest_state_id=sa.bindparam("latest", type_=threads_table.c.id.type),
        status=sa.bindparam("shown_as"),
    )
)
