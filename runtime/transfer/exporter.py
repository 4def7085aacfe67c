"""The export of a thread, as JSON that can be imported or as Markdown to be read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from runtime.model import File, Json, Message, Thread, encode_time
from runtime.store import Connection, files, states, threads, transfer
from runtime.transfer import markdown
from runtime.transfer.format import FORMAT, VERSION, MessagePart, RunPart, StatePart

_PAGE = 1000
"""Messages of a path that are read at once."""
_STATE_FIELDS = tuple(name for name in StatePart().fields if name != "messages")
_MESSAGE_FIELDS = tuple(MessagePart().fields)
_RUN_FIELDS = tuple(RunPart().fields)


def export_thread(
    c: Connection, workspace_id: str, thread_id: str, end: str | None = None
) -> dict[str, Json]:
    """The whole tree as JSON, or the path to the state ``end`` alone. Raises NotFound.

    To be called within :meth:`Database.snapshot`, else what is committed meanwhile would
    be exported in part.
    """
    thread = threads.get(c, workspace_id, thread_id)
    states = [_plain(row) for row in transfer.states_of(c, thread_id, _STATE_FIELDS)]
    parents = {state["id"]: state["parent_id"] for state in states}
    exported = set(_path(parents, end)) if end else parents.keys()
    messages = transfer.messages_of(c, thread_id, _message_part)
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
        "states": [
            {**state, "messages": messages.get(state["id"], [])}
            for state in states
            if state["id"] in exported
        ],
        "runs": [
            _plain(row)
            for row in transfer.runs_of(c, thread_id, _RUN_FIELDS)
            if row["output_state_id"] in exported
        ],
    }


def export_path(c: Connection, workspace_id: str, state_id: str) -> str:
    """The messages from the root to a state, as Markdown. Raises NotFound."""
    thread_id = states.get(c, workspace_id, state_id).thread_id
    title = threads.get(c, workspace_id, thread_id).title
    path: list[Message] = []
    cursor: str | None = None
    while True:
        window = states.history(c, workspace_id, state_id, limit=_PAGE, cursor=cursor)
        path[:0] = window.items
        if (cursor := window.next) is None:
            break
    return markdown.render(title, path)


def export_tree(c: Connection, thread: Thread) -> str:
    """The messages of every branch, as Markdown. To be called within :meth:`Database.snapshot`."""
    parents = {row["id"]: row["parent_id"] for row in transfer.states_of(c, thread.id, ("id", "parent_id"))}
    return markdown.render_tree(
        thread.title, parents, transfer.messages_of(c, thread.id, lambda message: message)
    )


def _path(parents: Mapping[str, str | None], end: str) -> Iterator[str]:
    """The states from ``end`` to the root."""
    state_id: str | None = end
    while state_id is not None:
        yield state_id
        state_id = parents[state_id]


def _message_part(message: Message) -> dict[str, Json]:
    encoded = message.encode()
    return {name: encoded[name] for name in _MESSAGE_FIELDS if name != "files" or message.files}


def files_of(c: Connection, thread_id: str, exported: Mapping[str, Json]) -> list[File]:
    """The files that an export of a thread names, each once."""
    parts = (
        file
        for state in exported["states"]
        for message in state["messages"]
        for file in message.get("files", ())
    )
    ids = list(dict.fromkeys(file["id"] for file in parts))
    return list(files.of_thread(c, thread_id, ids).values()) if ids else []


def _plain(row: Mapping[str, Json]) -> dict[str, Json]:
    return {name: encode_time(value) if name.endswith("_at") else value for name, value in row.items()}
