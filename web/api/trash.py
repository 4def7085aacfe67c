"""The trash: threads that were deleted, until they are restored or gone for good."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flask import Response

from runtime.dispatch import after_commit
from runtime.events import THREAD_DELETED
from runtime.model import Json, Thread, encode_time
from runtime.store import threads
from web.api.openapi import Blueprint
from web.api.schemas import outputs, queries
from web.core import core
from web.http.responses import json_response, no_content
from web.security import auth

views = Blueprint("trash", __name__, url_prefix="/api/trash", description="Threads that were deleted")
views.before_request(auth.sign_in_required)


@views.route("")
@views.arguments(queries.TrashQuery, location="query")
@views.response(200, outputs.page_of(outputs.DeletedThread))
def list_trash(given: dict[str, Any]) -> Response:
    """Your deleted threads, last deleted first. `POST /api/threads/{thread_id}/restore` restores one."""
    days = core.settings.trash.days
    page = core.database.read(threads.trash, auth.current_user().workspace_id, days, **given)
    return json_response({"items": [_encode(thread, days) for thread in page.items], "next": page.next})


@views.route("", methods=["DELETE"])
@views.response(204)
def empty_trash() -> Response:
    """Delete all of them for good. Within minutes they are erased from the database."""
    workspace_id = auth.current_user().workspace_id
    core.database.write(threads.empty_trash, workspace_id)
    after_commit(core.hint, workspace_id, THREAD_DELETED)
    return no_content()


@views.route("/<id:thread_id>", methods=["DELETE"])
@views.response(204)
def delete_for_good(thread_id: str) -> Response:
    """Delete a thread of the trash for good. Within minutes it is erased from the database."""
    workspace_id = auth.current_user().workspace_id
    core.database.write(threads.delete_for_good, workspace_id, thread_id)
    after_commit(core.hint, workspace_id, THREAD_DELETED, thread_id)
    return no_content()


def _encode(thread: Thread, days: float) -> dict[str, Json]:
    deleted_at = thread.deleted_at
    assert deleted_at is not None
    times = {"deleted_at": deleted_at, "restorable_until": deleted_at + timedelta(days=days)}
    return {**thread.encode(), **{name: encode_time(moment) for name, moment in times.items()}}
