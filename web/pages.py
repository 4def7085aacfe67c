"""The front page: what runs here, and where to go on."""

from __future__ import annotations

from flask import Blueprint, Response, render_template

import runtime

pages = Blueprint("pages", __name__)


@pages.route("/")
def front() -> Response:
    """The front page."""
    return Response(render_template("front.html", version=runtime.__version__), mimetype="text/html")
