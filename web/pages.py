"""The built browser interface, or a page that says how to build it."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from flask import Blueprint, Response, render_template, request, send_from_directory

import runtime

pages = Blueprint("pages", __name__)

_BUILT = Path(__file__).parent / "static"
_ONE_YEAR = 365 * 86400
"""Seconds that a browser may cache a file whose name changes with its content."""


@pages.route("/")
@pages.route("/login")
@pages.route("/register")
@pages.route("/settings")
@pages.route("/trash")
@pages.route("/t/<path:thread>")
def app(**_: str) -> Response:
    """The interface. Its script reads the address, and shows that thread or page, or that there is none."""
    index = _BUILT / "index.html"
    if index.exists():  # every address in it begins with a slash
        page = index.read_text().replace('="/', f'="{request.script_root}/')
    else:
        page = render_template("front.html", version=runtime.__version__)
    return Response(page, mimetype="text/html", headers={"Cache-Control": "no-cache"})


@pages.route("/ui/assets/<path:file>")
def built(file: str) -> Response:
    """A file of the interface: the copy compressed at build time, if the browser accepts gzip."""
    folder = _BUILT / "assets"
    compressed = request.accept_encodings.quality("gzip") and (folder / f"{file}.gz").is_file()
    kind = mimetypes.guess_type(file)[0]
    response = send_from_directory(folder, f"{file}.gz" if compressed else file, mimetype=kind)
    if compressed:
        response.headers["Content-Encoding"] = "gzip"
    response.vary.add("Accept-Encoding")
    response.headers["Cache-Control"] = f"public, max-age={_ONE_YEAR}, immutable"
    return response
