"""The import of a thread.

It makes new ids, so that the same export can be imported twice, and its runs have
all ended: one that had not when it was exported counts as cancelled.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeVar

from runtime.model import TERMINAL, Json, Message, RunError, RunStatus, State, Thread, new_id
from runtime.store import Connection, files, messages, states, threads, transfer

T = TypeVar("T")

_ID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""Of a file; in an export it may be anything."""

_CUT_SHORT = RunError("cancelled", "The run had not ended when its thread was exported.")


def import_thread(
    c: Connection,
    *,
    workspace_id: str,
    user_id: str,
    export: Mapping[str, Any],
    brought: Mapping[str, str] | None = None,
) -> Thread:
    """A new thread made of an export as :func:`format.load` returns it.

    Its messages name the files that the workspace has: those that were ``brought`` along, by their
    id in the export, or those of the same id. Others are left out.

    Each statement is small, so that under gevent other greenlets run in between, and the
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
    found = _files(c, workspace_id, export, brought or {})
    files.use(c, thread.id, list({file["id"] for file in found.values()}))
    state_ids = {**_new_ids(parts[1:]), parts[0]["id"]: thread.root_state_id}
    run_ids = _new_ids(export["runs"])
    tree = _states(thread, parts, state_ids, run_ids)
    transfer.update_root(c, next(tree))
    for batch in _batches(tree):
        states.insert(c, batch)
    for some_messages in _batches(_messages(parts, state_ids, run_ids, found)):
        messages.save(c, some_messages)
    for rows in _batches(_run(thread, part, state_ids, run_ids) for part in export["runs"]):
        transfer.insert_runs(c, rows)
    latest = state_ids.get(about["latest_state_id"], state_ids[parts[-1]["id"]])
    transfer.update_thread(c, thread.id, latest_state_id=latest, status=about["status"])
    return threads.get(c, workspace_id, thread.id)


def _new_ids(parts: list[dict[str, Any]]) -> dict[str, str]:
    """A new id for each part, in the same order."""
    return dict(zip((part["id"] for part in parts), sorted(new_id() for _ in parts), strict=True))


def _batches(rows: Iterable[T]) -> Iterator[list[T]]:
    """The rows of one statement after the other. A state alone may have more messages than one takes."""
    left = iter(rows)
    while batch := [*islice(left, transfer.BATCH)]:
        yield batch


def _states(
    thread: Thread, parts: list[dict[str, Any]], state_ids: Mapping[str, str], run_ids: Mapping[str, str]
) -> Iterator[State]:
    """The states of the new tree without messages, each with its depth and its ordinal among its siblings."""
    children: dict[str, int] = {}
    for part in parts[1:]:
        children[part["parent_id"]] = children.get(part["parent_id"], 0) + 1
    depths: dict[str | None, int] = {None: -1}
    ordinals: dict[str | None, int] = {}
    for part in parts:
        parent_id = part["parent_id"]
        depths[part["id"]] = depths[parent_id] + 1
        ordinals[parent_id] = ordinals.get(parent_id, -1) + 1
        yield State(
            id=state_ids[part["id"]],
            thread_id=thread.id,
            parent_id=None if parent_id is None else state_ids[parent_id],
            depth=depths[part["id"]],
            ordinal=ordinals[parent_id],
            children=children.get(part["id"], 0),
            run_id=run_ids.get(part["run_id"]),
            label=part["label"],
            starred=part["starred"],
            created_at=part["created_at"],
        )


def _files(
    c: Connection, workspace_id: str, export: Mapping[str, Any], brought: Mapping[str, str]
) -> dict[str, dict[str, Json]]:
    """By their id in the export, the files that messages can name here, and that stay for now."""
    ids = {file_id: brought.get(file_id, file_id) for file_id in named_files(export)}
    there = files.hold(c, workspace_id, [own for own in ids.values() if _ID.fullmatch(own)])
    return {file_id: there[own].mention() for file_id, own in ids.items() if own in there}


def named_files(export: Mapping[str, Any]) -> list[str]:
    """The ids of the files that an export names, each once."""
    named = (
        file["id"] for part in export["states"] for message in part["messages"] for file in message["files"]
    )
    return list(dict.fromkeys(named))


def _messages(
    parts: list[dict[str, Any]],
    state_ids: Mapping[str, str],
    run_ids: Mapping[str, str],
    found: Mapping[str, dict[str, Json]],
) -> Iterator[Message]:
    for part in parts:
        state_id, run_id = state_ids[part["id"]], run_ids.get(part["run_id"])
        for position, message in enumerate(part["messages"]):
            named = [found[file["id"]] for file in message["files"] if file["id"] in found]
            created_at = message["created_at"] or part["created_at"]
            fields = {**message, "id": new_id(), "created_at": created_at, "files": named or None}
            yield Message(**fields, state_id=state_id, position=position, run_id=run_id)


def _run(
    thread: Thread, part: Mapping[str, Any], state_ids: Mapping[str, str], run_ids: Mapping[str, str]
) -> dict[str, Any]:
    """The row of a run that has ended, or counts as cancelled."""
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
        "imported": True,
    }
