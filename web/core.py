"""What the views work with: the services of this process, made when first asked for.

Nothing here connects to anything before the first request, so an app can be made
before gunicorn forks, or only to read its OpenAPI document.
"""

from __future__ import annotations

from functools import cached_property
from typing import cast

from flask import Flask, current_app
from werkzeug.local import LocalProxy

from runtime.dispatch import Dispatcher
from runtime.errors import StreamUnavailable
from runtime.events import THREAD_UPDATED
from runtime.model import Thread
from runtime.services import Services
from runtime.stream import Hub, Revocations, Tries
from web.http.slots import Places
from web.ops.metrics import Figures
from web.security.credentials import CredentialCache
from web.security.passwords import Passwords
from web.security.rate_limit import WINDOW, Throttle

IMPORTS = 2
"""Imports at a time; one of 10 MB takes 200 MB and half a minute."""


class Core(Services):
    """The services that only a web process has."""

    migrated = False
    """Whether the database was seen with all its migrations."""

    ending = False
    """Whether this process has been told to stop."""

    def init_app(self, app: Flask) -> None:
        """Make this the core of ``app``."""
        app.extensions["branchline"] = self

    @cached_property
    def hub(self) -> Hub:
        """Wakes the streams of this process."""
        return Hub(self.log, self.link, self.settings.stream)

    @cached_property
    def dispatcher(self) -> Dispatcher:
        """Makes, cancels and answers runs."""
        return Dispatcher(self)

    @cached_property
    def passwords(self) -> Passwords:
        """Makes and checks the hashes of passwords."""
        return Passwords(self.settings.database.pool_timeout)

    @cached_property
    def imports(self) -> Places:
        """Where threads are imported."""
        full = "Too many threads are being imported; try again in a moment."
        return Places(IMPORTS, self.settings.database.pool_timeout, full)

    @cached_property
    def logins(self) -> Throttle:
        """Counts who tries to sign in."""
        per_minute = self.settings.limits.logins_per_minute
        return Throttle(Tries(self.link, per_minute, WINDOW), per_minute)

    @cached_property
    def credentials(self) -> CredentialCache:
        """Tells whose a credential is, at each request and at each heartbeat of a stream."""
        return CredentialCache(self.database, Revocations(self.link))

    @cached_property
    def figures(self) -> Figures:
        """What this process counts."""
        return Figures()

    def hint_thread(self, thread: Thread) -> None:
        """Tell the owner's lists of a thread that is new there."""
        try:
            self.notices.to_workspace(thread.workspace_id, {"type": THREAD_UPDATED, "thread_id": thread.id})
        except StreamUnavailable:
            pass  # a hint only

    def end_streams(self) -> None:
        """End every open stream, so that its reader goes to another process."""
        self.ending = True
        if "hub" in self.__dict__:
            self.hub.close()


def this_core() -> Core:
    """The core itself, for what outlives the request."""
    found: Core = current_app.extensions["branchline"]
    return found


core = cast(Core, LocalProxy(this_core))
"""The core of the app that answers the present request."""
