"""The browser interface as it was built, or, where it was not, a page that says how to build it."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from flask import Blueprint, Response, render_template, request, send_from_directory

import runtime

pages = Blueprint("pages", __name__)

_BUILT = Path(__file__).parent / "static"
_FOR_EVER = 365 * 86400
"""Seconds that a browser may keep a file whose name changes with its content."""


@pages.route("/")
@pages.route("/login")
@pages.route("/register")
@pages.route("/settings")
@pages.route("/t/<id:thread_id>")
@pages.route("/t/<id:thread_id>/<any(s, map, compare):view>/<id:state_id>")
def app(**_: str) -> Response:
    """The interface; its script shows what the address names."""
    index = _BUILT / "index.html"
    page = index.read_text() if index.exists() else render_template("front.html", version=runtime.__version__)
    return Response(page, mimetype="text/html", headers={"Cache-Control": "no-cache"})


@pages.route("/ui/<path:file>")
def built(file: str) -> Response:
    """A file of the interface, compressed when it was built if the browser takes it so."""
    packed = request.accept_encodings.quality("gzip") and (_BUILT / f"{file}.gz").is_file()
    kind = mimetypes.guess_type(file)[0]
    response = send_from_directory(_BUILT, f"{file}.gz" if packed else file, mimetype=kind)
    if packed:
        response.headers["Content-Encoding"] = "gzip"
    response.vary.add("Accept-Encoding")
    response.headers["Cache-Control"] = f"public, max-age={_FOR_EVER}, immutable"
    return response
