"""The logins of browsers: each has one of its own, whose token is in a cookie of that browser alone."""

from __future__ import annotations

import time
from collections import OrderedDict

import httpx

from runtime.errors import Unauthenticated
from runtime.gradio_chat.api import Api

_BELIEVED = 30.0
"""Seconds for which a token is believed once the web process has accepted it. What the page asks for
in its name the web process checks each time."""
_REMEMBERED = 10_000


class SignIns:
    """Says whose a token is."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._known: OrderedDict[str, tuple[float, str]] = OrderedDict()

    async def user(self, token: str) -> str | None:
        """The email address of the user who has signed in with it; None where the token is of no use.

        Raises Refused, Unavailable.
        """
        if not token:
            return None
        until, email = self._known.get(token, (0.0, ""))
        if until > time.monotonic():
            return email
        try:
            email = str((await Api(self._http, token).get("/api/me"))["user"]["email"])
        except Unauthenticated:
            self.forget(token)
            return None
        self._known[token] = time.monotonic() + _BELIEVED, email
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return email

    def forget(self, token: str) -> None:
        """Ask the web process the next time."""
        self._known.pop(token, None)
