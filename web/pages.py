"""The built browser interface, or a page that says how to build it."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from flask import Blueprint, Response, render_template, request, send_from_directory

import runtime

pages = Blueprint("pages", __name__)

_BUILT = Path(__file__).parent / "static"
_FOR_EVER = f"public, max-age={365 * 86400}, immutable"
"""How a browser caches a file whose name changes with its content: a year."""


@pages.route("/")
@pages.route("/login")
@pages.route("/register")
@pages.route("/settings")
@pages.route("/trash")
@pages.route("/knowledge")
@pages.route("/knowledge/<path:source>")
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
    """A file of the interface, whose name changes with its content."""
    response = _send("assets", file)
    response.headers["Cache-Control"] = _FOR_EVER
    return response


# OPTIONS is answered as it is of all below /static.
@pages.route("/static/panel/<path:file>", methods=["GET", "OPTIONS"], provide_automatic_options=True)
def panel(file: str) -> Response:
    """A script of the agent chat panel, which pages of any origin may load: it has nothing of anybody's."""
    response = _send("panel", file)
    response.headers["Cache-Control"] = _FOR_EVER if file.startswith("assets/") else "no-cache"
    response.headers["Access-Control-Allow-Origin"] = "*"
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    return response


def _send(folder: str, file: str) -> Response:
    """The copy compressed at build time, if the browser accepts gzip."""
    path = _BUILT / folder
    compressed = request.accept_encodings.quality("gzip") and (path / f"{file}.gz").is_file()
    kind = mimetypes.guess_type(file)[0]
    response = send_from_directory(path, f"{file}.gz" if compressed else file, mimetype=kind)
    if compressed:
        response.headers["Content-Encoding"] = "gzip"
    response.vary.add("Accept-Encoding")
    return response
