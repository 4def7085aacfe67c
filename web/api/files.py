"""Files: what users add to conversations."""

from __future__ import annotations

from functools import partial
from typing import Any

from flask import Response, request, url_for

from runtime.model import File
from runtime.store import files
from web.api.openapi import Blueprint
from web.api.schemas import outputs, queries
from web.core import core
from web.http.contents import content_response
from web.http.multipart import FILE_BODY, read_file
from web.http.responses import json_response, no_content
from web.security import auth

views = Blueprint("files", __name__, url_prefix="/api/files", description="What messages can name")
views.before_request(auth.sign_in_required)

_FileAnswer = outputs.wrapped("FileAnswer", file=outputs.File)
CONTENT = {
    "content_type": "*/*",  # the type of the file
    "schema": {"type": "string", "format": "binary"},
    "headers": {
        "ETag": {"schema": {"type": "string"}},
        "Accept-Ranges": {"schema": {"type": "string"}},
    },
    "success": True,
}
"""How a content is documented."""
RANGE = {
    "in": "header",
    "name": "Range",
    "description": "one range, as `bytes=0-1023`; several are answered with the whole content",
    "schema": {"type": "string"},
}


@views.route("", methods=["POST"])
@views.doc(**FILE_BODY)
@views.response(201, _FileAnswer, headers={"Location": {"schema": {"type": "string"}}})
def upload_file() -> Response:
    """Upload a file, as the part `file` of the body. Messages name it by its id.

    What no message names is deleted after a day.
    """
    user = auth.current_user()
    with core.uploads.hold(user.id), core.files.stage() as staged:
        name = read_file(request, staged.write)
        file = core.files.add(staged, user.workspace_id, user.id, name)
    return json_response(
        {"file": file.encode()},
        201,
        Location=url_for("files.get_file", file_id=file.id),
    )


@views.route("")
@views.arguments(queries.FilesQuery, location="query")
@views.response(200, outputs.page_of(outputs.File))
def list_files(given: dict[str, Any]) -> Response:
    """Your files, newest first."""
    page = core.database.read(files.listing, auth.current_user().workspace_id, **given)
    return json_response({"items": [file.encode() for file in page.items], "next": page.next})


@views.route("/<id:file_id>")
@views.response(200, _FileAnswer)
def get_file(file_id: str) -> Response:
    """What is known of one file."""
    return json_response({"file": _get(file_id).encode()})


@views.route("/<id:file_id>/content", parameters=[RANGE])
@views.alt_response(200, description="Its content", **CONTENT)
@views.alt_response(206, description="The range that was asked for", **CONTENT)
@views.alt_response(304, description="You have it, by `If-None-Match`", success=True)
def get_content(file_id: str) -> Response:
    """The content of one file. Browsers show pictures, and save everything else."""
    file = _get(file_id)
    return content_response(file, partial(core.files.read, file))


@views.route("/<id:file_id>", methods=["DELETE"])
@views.response(204)
def delete_file(file_id: str) -> Response:
    """Delete a file that no message names. 409 where one does: it goes with its threads."""
    core.files.delete(auth.current_user().workspace_id, file_id)
    return no_content()


def _get(file_id: str) -> File:
    return core.database.read(files.get, auth.current_user().workspace_id, file_id)
