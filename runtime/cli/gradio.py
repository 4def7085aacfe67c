"""``branchline gradio``: a chat as a Gradio page."""

from __future__ import annotations

import click

from runtime.cli import extras
from runtime.logs import configure
from runtime.settings import current


@click.command()
def gradio() -> None:
    """Serve a chat as a Gradio page, on BRANCHLINE_GRADIO_HOST and BRANCHLINE_GRADIO_PORT.

    It is a client of the web process, at API_URL, and needs neither Redis nor the
    database. Who opens it signs in with an account of Branchline.
    """
    settings = current()
    extras.require("gradio", "gradio")
    from runtime.gradio_chat.server import serve

    configure(settings)
    serve(settings)
