"""Threads: their list, their settings, their export, and a snapshot to go on from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from typing import Any

from flask import Response, request, url_for
from marshmallow import fields

from runtime import transfer
from runtime.dispatch import after_commit
from runtime.errors import Conflict, NotFound
from runtime.events import THREAD_UPDATED
from runtime.model import File, Json, Run, State, Thread, ThreadStatus, User
from runtime.sessions import store as sessions
from runtime.store import messages, runs, search, states, threads
from runtime.stream import OpenMessage
from runtime.system.greenlets import ThreadPool
from runtime.transfer import archive
from web.api import body_limits
from web.api.openapi import Blueprint
from web.api.schemas import inputs, outputs, queries
from web.core import IMPORTS, core
from web.http.parsing import load_document, pieces, read_body
from web.http.responses import json_response, no_content
from web.security import auth
from web.sessions.schemas import Session

views = Blueprint("threads", __name__, url_prefix="/api/threads", description="Conversations, each a tree")
views.before_request(auth.sign_in_required)
views.before_request(body_limits.enter_lane)

_ThreadAnswer = outputs.wrapped("ThreadAnswer", thread=outputs.Thread)
_NewThreadAnswer = outputs.wrapped("NewThreadAnswer", thread=outputs.Thread, root_state=outputs.State)
_Snapshot = outputs.wrapped(
    "Snapshot",
    cursor=fields.String(metadata={"description": "where to continue in the thread's events (`after`)"}),
    messages=[outputs.Message],
    other_branches=outputs.other_branches(),
    next=fields.String(allow_none=True, metadata={"description": "cursor of the history before `messages`"}),
    open=[outputs.OpenMessage],
    runs=[outputs.Run],
    session=fields.Nested(Session, allow_none=True),
    states=outputs.sibling_positions(),
    steps=outputs.step_counts(),
)

_ZIP = "application/zip"
_ARCHIVE_BODY = {
    "requestBody": {
        "required": True,
        "content": {_ZIP: {"schema": {"type": "string", "format": "binary"}}},
    }
}
_RECENT_RUNS = 100
_threads = ThreadPool(IMPORTS)
"""Checking a large export needs seconds, which would hold up every other request."""


def _limited(view: Callable[..., Response]) -> Callable[..., Response]:
    """Let ``view`` parse its body only with a slot for imports: parsing needs ten times the body's size."""

    @wraps(view)
    def limited(*args: Any, **kwargs: Any) -> Response:
        read_body(request, keep=True)  # before the slot, so that a slow client holds none
        with core.imports.hold(auth.current_user().id):
            return view(*args, **kwargs)

    return limited


@views.route("")
@views.arguments(queries.ThreadsQuery, location="query")
@views.response(200, outputs.page_of(outputs.ListedThread))
def list_threads(given: dict[str, Any]) -> Response:
    """Your threads, last updated first; with a query, where in them it was found."""
    status = ThreadStatus(given.pop("status") or ThreadStatus.ACTIVE)
    query = given.pop("query")
    user = auth.current_user()
    if query:
        with core.searches.hold(user.id):
            found = core.database.search(search.find, user.workspace_id, query=query, status=status, **given)
        items = [{**one.thread.encode(), "hit": one.hit.encode()} for one in found.items]
        return json_response({"items": items, "next": found.next})
    page = core.database.read(threads.listing, user.workspace_id, status=status, **given)
    return json_response({"items": [thread.encode() for thread in page.items], "next": page.next})


@views.route("", methods=["POST"])
@views.arguments(inputs.NewThread)
@views.response(201, _NewThreadAnswer)
def create_thread(given: dict[str, Any]) -> Response:
    """Create a thread, with its empty root state."""
    _check_config(given["worker_id"], given["config"])
    user = auth.current_user()

    def make(c: Any) -> tuple[Thread, State]:
        thread = threads.create(c, workspace_id=user.workspace_id, user_id=user.id, **given)
        return thread, states.get(c, user.workspace_id, thread.root_state_id)

    return _created(*core.database.write(make))


@views.route("/import", methods=["POST"])
@_limited
@views.arguments(inputs.Export)
@views.response(201, _NewThreadAnswer)
def import_thread(given: dict[str, Any]) -> Response:
    """Create a thread from an export."""
    user = auth.current_user()
    export = _threads.call(transfer.load, given)

    def make(c: Any) -> tuple[Thread, State]:
        thread = transfer.import_thread(c, workspace_id=user.workspace_id, user_id=user.id, export=export)
        return thread, states.get(c, user.workspace_id, thread.root_state_id)

    return _created(*core.database.write(make))


@views.route("/import/archive", methods=["POST"])
@views.doc(**_ARCHIVE_BODY)
@views.response(201, _NewThreadAnswer)
def import_archive() -> Response:
    """Create a thread from an export with `format=zip`, with its files."""
    user = auth.current_user()
    with core.uploads.hold(user.id), core.files.stage(body_limits.ARCHIVE) as staged:
        for piece in pieces(request):
            staged.write(piece)
        staged.close()
        with core.imports.hold(user.id), archive.opened(staged.path, core.settings.web.max_body) as found:
            raw = _threads.call(found.thread)
            export = _threads.call(
                lambda: transfer.load(load_document(inputs.Export(), raw, "archive's thread.json"))
            )
            brought = dict(_brought(found, export, user))

            def make(c: Any) -> tuple[Thread, State]:
                thread = transfer.import_thread(
                    c, workspace_id=user.workspace_id, user_id=user.id, export=export, brought=brought
                )
                return thread, states.get(c, user.workspace_id, thread.root_state_id)

            return _created(*core.database.write(make))


def _brought(found: archive.Archive, export: Mapping[str, Any], user: User) -> Iterator[tuple[str, str]]:
    """Keep the files of an archive: the id of each in the export, and here."""
    names = {
        file["id"]: file["name"]
        for state in export["states"]
        for m in state["messages"]
        for file in m["files"]
    }
    for file_id, name in names.items():
        content = found.content(file_id)
        if content is None:
            continue
        with core.files.stage() as staged:
            while piece := _threads.call(next, content, b""):
                staged.write(piece)
            yield file_id, core.files.add(staged, user.workspace_id, user.id, name).id


@views.route("/<id:thread_id>")
@views.response(200, _ThreadAnswer)
def get_thread(thread_id: str) -> Response:
    """One thread."""
    return _thread_response(core.database.engine.get_thread(auth.current_user().workspace_id, thread_id))


@views.route("/<id:thread_id>", methods=["PATCH"])
@views.arguments(inputs.ThreadChanges)
@views.response(200, _ThreadAnswer)
def update_thread(given: dict[str, Any], thread_id: str) -> Response:
    """Change the fields that are sent, and no others."""
    workspace_id = auth.current_user().workspace_id
    worker_id = None
    if "worker_id" in given or "config" in given:
        before = core.database.engine.get_thread(workspace_id, thread_id)
        worker_id = given.get("worker_id", before.worker_id)
        _check_config(worker_id, given.get("config"))  # in no transaction: it may take a second

    def change(c: Any) -> Thread:
        changed = threads.update(c, workspace_id, thread_id, **given)
        if "config" in given and changed.worker_id != worker_id:
            raise Conflict("The thread's worker was changed at the same moment; send this again.")
        return changed

    thread = core.database.write(change)
    after_commit(core.announcer.thread, thread)
    return _thread_response(thread)


@views.route("/<id:thread_id>", methods=["DELETE"])
@views.response(204)
def delete_thread(thread_id: str) -> Response:
    """Move a thread to the trash and cancel its runs; for some days it can be restored."""
    core.dispatcher.delete_thread(auth.current_user(), thread_id)
    return no_content()


@views.route("/<id:thread_id>/restore", methods=["POST"])
@views.response(200, _ThreadAnswer)
def restore_thread(thread_id: str) -> Response:
    """Restore a deleted thread from the trash."""
    workspace_id = auth.current_user().workspace_id
    thread = core.database.write(threads.restore, workspace_id, thread_id, core.settings.trash.days)
    after_commit(core.announcer.thread, thread)
    return _thread_response(thread)


@views.route("/<id:thread_id>/export")
@views.arguments(queries.ExportQuery, location="query")
@views.response(200, inputs.Export)
@views.alt_response(200, content_type="text/markdown", schema={"type": "string"}, success=True)
@views.alt_response(200, content_type=_ZIP, schema={"type": "string", "format": "binary"}, success=True)
def export_thread(given: dict[str, Any], thread_id: str) -> Response:
    """The whole tree, or the path to one state: as JSON for importing, or as Markdown for reading."""
    workspace_id = auth.current_user().workspace_id
    as_json = given["format"] in ("json", "zip")
    whole_tree = (given["scope"] or ("tree" if as_json and not given["state"] else "path")) == "tree"

    def export(c: Any) -> Any:
        thread = threads.get(c, workspace_id, thread_id)
        end = None if whole_tree else given["state"] or thread.latest_state_id
        if end is not None:
            _check_belongs(thread, states.get(c, workspace_id, end))
        if as_json:
            return transfer.export_thread(c, workspace_id, thread_id, end)
        return transfer.export_path(c, workspace_id, end) if end else transfer.export_tree(c, thread)

    if given["format"] == "zip":
        return _as_attachment(_archive(export, thread_id), thread_id, "zip")
    with core.exports.hold(auth.current_user().id):
        exported = core.database.snapshot(export)
        if as_json:
            return _as_attachment(json_response(exported), thread_id, "json")
    return _as_attachment(Response(exported, mimetype="text/markdown"), thread_id, "md")


@views.route("/<id:thread_id>/snapshot")
@views.arguments(queries.SnapshotQuery, location="query")
@views.response(200, _Snapshot)
def snapshot(given: dict[str, Any], thread_id: str) -> Response:
    """The current messages of a branch, and the cursor from which to follow the thread's events."""
    workspace_id = auth.current_user().workspace_id
    core.database.engine.get_thread(workspace_id, thread_id)
    # The cursor is read first, then the open messages, then the database. What happens in
    # between is then seen twice, which its number gives away, and is never missed.
    cursor = core.log.cursor(thread_id)
    partials = core.log.open_messages(thread_id)

    def read(c: Any) -> dict[str, Json]:
        thread = threads.get(c, workspace_id, thread_id)
        state_id = given["state"] or thread.latest_state_id
        _check_belongs(thread, states.get(c, workspace_id, state_id))
        history = states.history(c, workspace_id, state_id, limit=given["limit"])
        return _snapshot_of(c, thread, history, partials)

    return json_response({"cursor": str(cursor), **core.database.snapshot(read)})


def _snapshot_of(
    c: Any, thread: Thread, history: states.History, partials: list[OpenMessage]
) -> dict[str, Json]:
    """Each message once: in ``open`` while it is written, else in ``messages`` or ``other_branches``."""
    recent = runs.listing(c, thread.workspace_id, thread_id=thread.id, limit=_RECENT_RUNS).items
    active = {run.id: run for run in recent if not run.status.terminal}
    shown: Mapping[str, Run] = {run.id: run for run in runs.of_states(c, history.states)} | active
    filled = {run.output_state_id for run in active.values()} - history.states.keys()
    other_branches = messages.of_states(c, filled)
    session = sessions.find_in(c, thread.id)
    committed = {message.id for message in [*history.items, *other_branches] if message.status == "complete"}
    open_now = {
        partial.message_id: partial
        for partial in partials
        if partial.message_id not in committed and _is_writing(shown.get(partial.run_id), partial)
    }
    return {
        "messages": [message.encode() for message in history.items if message.id not in open_now],
        "other_branches": [message.encode() for message in other_branches if message.id not in open_now],
        "next": history.next,
        "open": [
            {"message": {**partial.message, "content": partial.text}, "n": partial.n}
            for partial in open_now.values()
        ],
        "runs": [run.encode() for run in sorted(shown.values(), key=lambda run: run.id)],
        "session": session and session.encode(),
        "states": history.states,
        "steps": runs.step_counts(c, shown),
    }


def _is_writing(run: Run | None, partial: OpenMessage) -> bool:
    return run is not None and not run.status.terminal and run.attempt == partial.attempt


def _check_belongs(thread: Thread, state: State) -> None:
    if state.thread_id != thread.id:
        raise NotFound("The thread has no such state.")


def _check_config(worker_id: str | None, config: Mapping[str, Json] | None) -> None:
    if worker_id is None:
        return
    worker = core.catalogue.find(worker_id)
    if config is not None:
        worker.check_config(config, auth.current_user().id)


def _thread_response(thread: Thread) -> Response:
    return json_response({"thread": thread.encode()})


def _created(thread: Thread, root: State) -> Response:
    after_commit(core.hint, thread.workspace_id, THREAD_UPDATED, thread.id)
    body = {"thread": thread.encode(), "root_state": root.encode()}
    return json_response(body, 201, Location=url_for("threads.get_thread", thread_id=thread.id))


def _archive(export: Callable[[Any], Any], thread_id: str) -> Response:
    """An export with the contents of its files, sent while it is made."""

    def read(c: Any) -> tuple[Any, list[File]]:
        exported = export(c)
        return exported, transfer.files_of(c, thread_id, exported)

    held = core.exports.hold(auth.current_user().id)
    held.__enter__()
    try:
        exported, named = core.database.snapshot(read)
        response = Response(archive.write(exported, named, core.files.read), mimetype=_ZIP)
    except BaseException:
        held.__exit__(None, None, None)
        raise
    response.call_on_close(lambda: held.__exit__(None, None, None))
    return response


def _as_attachment(response: Response, thread_id: str, extension: str) -> Response:
    response.headers["Content-Disposition"] = f'attachment; filename="thread-{thread_id}.{extension}"'
    return response
