"""How a command that is a client signs in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from runtime.settings import current
from runtime.thread_api.client import Api

_OPTIONS = (
    click.option("--url", help="The server (default: PORT and BASE_PATH on this machine)."),
    click.option("--email", help="The account (default: the development account)."),
    click.option("--token", envvar="BRANCHLINE_TOKEN", help="An API token, instead of signing in."),
)


def as_account(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a command that say where to sign in, and as whom."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def sign_in(url: str | None, email: str | None, token: str | None) -> Api:
    """A client that is signed in. Raises Unauthenticated, Unavailable."""
    settings = current()
    password = settings.development.password
    if token is None and email not in (None, settings.development.email):
        password = click.prompt(f"Password of {email}", hide_input=True)
    return Api(url or settings.api_url, token, email or settings.development.email, password)
