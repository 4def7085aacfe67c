"""The services that views work with, created on first use.

Nothing here connects to anything before the first request, so an app can be made
before gunicorn forks, or only to read its OpenAPI document.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property, partial
from typing import cast

from flask import Flask, current_app
from werkzeug.local import LocalProxy

from runtime.dispatch import Dispatcher
from runtime.dispatch.outbox import Outbox
from runtime.duties import Duties
from runtime.errors import StoreUnavailable, StreamUnavailable
from runtime.model import Json
from runtime.outboxes import dispatcher_of, outbox_of
from runtime.queue.publisher import refused_queues
from runtime.registry import config_schema
from runtime.services import Services
from runtime.store import pools
from runtime.stream import Hub, Revocations, SlidingWindow, rights
from runtime.system import clock
from web.http.lanes import Lane
from web.ops.metrics import Metrics
from web.ops.recent import Recent
from web.security.credentials import CredentialCache
from web.security.passwords import Passwords
from web.security.rate_limit import WINDOW, RateLimit
from web.streaming.open_streams import OpenStreams

IMPORTS = 2
"""Imports at a time: one of 10 MB takes 200 MB of memory and half a minute."""


UPLOADS = 64
UPLOADS_PER_USER = 8
"""Files at a time that are received. They cost little memory; a connection may be slow."""
LARGE_BODIES = 32
LARGE_BODIES_PER_USER = 4
EXPORTS = 2
"""Answers at a time that have all that a thread or a run has; there is no bound to that."""
COMMANDS_PER_RUN = 16
SEARCHES = 4
"""Searches at a time. Each keeps a connection to the database from all other requests."""
SEARCHES_PER_USER = 2
_SEARCH_PATIENCE = 3.0
"""Seconds to wait for other searches."""

_BROKER_PATIENCE = 3.0
"""Seconds to wait for the broker."""
_ASKED_AFTER = 2.0
"""Seconds for which an answer of the broker, or of Redis on what may be done there, counts."""


class Core(Services):
    """The services that only a web process has."""

    migrated = False
    """Whether the database is known to have every migration."""

    stopping = False
    """Whether this process has been told to stop."""

    def init_app(self, app: Flask) -> None:
        """Make this the core of ``app``."""
        app.extensions["branchline"] = self

    @cached_property
    def duties(self) -> Duties:
        """What this process does beside its requests."""
        return Duties()

    @cached_property
    def at_start(self) -> list[Callable[[], None]]:
        """What else is begun before the first request."""
        return []

    @cached_property
    def at_stop(self) -> list[Callable[[], None]]:
        """What else ends connections that would stay open, once this process is told to stop."""
        return []

    @cached_property
    def hub(self) -> Hub:
        """Wakes the streams of this process."""
        return Hub(self.log, self.link, self.settings.stream, self.duties)

    @cached_property
    def dispatcher(self) -> Dispatcher:
        """Makes, cancels and answers runs."""
        return dispatcher_of(self)

    @cached_property
    def outbox(self) -> Outbox:
        """What is to happen after commits: what a request has left there is done at once."""
        return outbox_of(self)

    @cached_property
    def passwords(self) -> Passwords:
        """Makes and checks the hashes of passwords."""
        return Passwords(self.settings.database.pool_timeout)

    @cached_property
    def imports(self) -> Lane:
        """How many threads are imported at once."""
        full = "Too many threads are being imported; try again in a moment."
        return Lane(IMPORTS, 1, self.settings.database.pool_timeout, full)

    @cached_property
    def large_bodies(self) -> Lane:
        """How many large bodies are received and handled at once; each needs several times its size."""
        full = "Too many large requests are being sent at once; try again in a moment."
        return Lane(LARGE_BODIES, LARGE_BODIES_PER_USER, self.settings.database.pool_timeout, full)

    @cached_property
    def uploads(self) -> Lane:
        """How many files are received at once."""
        full = "Too many files are being sent at once; try again in a moment."
        return Lane(UPLOADS, UPLOADS_PER_USER, self.settings.database.pool_timeout, full)

    @cached_property
    def exports(self) -> Lane:
        """How many whole threads, or all attempts of a run, are read at once."""
        full = "Too many large answers are being made; try again in a moment."
        return Lane(EXPORTS, 1, self.settings.database.pool_timeout, full)

    @cached_property
    def open_streams(self) -> OpenStreams:
        """How many streams and waits each user has open."""
        limit = self.settings.limits.streams_per_user
        full = f"You have {limit} streams and waits open, which is as many as you may. Close some of them."
        return OpenStreams(limit, full)

    @cached_property
    def open_commands(self) -> OpenStreams:
        """How many streams of commands each run has open; a worker needs one."""
        full = f"The run has {COMMANDS_PER_RUN} streams of commands open, which is as many as it may."
        return OpenStreams(COMMANDS_PER_RUN, full)

    @cached_property
    def searches(self) -> Lane:
        """How many searches through messages are made at once."""
        full = "Too many searches are under way; try again in a moment."
        number = max(1, min(SEARCHES, self.settings.database.pool_size // 2))
        return Lane(number, min(number, SEARCHES_PER_USER), _SEARCH_PATIENCE, full)

    @cached_property
    def login_limit(self) -> RateLimit:
        """Limits attempts to sign in, by address and by account."""
        per_minute = self.settings.limits.logins_per_minute
        return RateLimit(SlidingWindow(self.link, per_minute, WINDOW), per_minute)

    @cached_property
    def credentials(self) -> CredentialCache:
        """Finds the user of a credential, at each request and at each heartbeat of a stream."""
        return CredentialCache(self.database, Revocations(self.link))

    @cached_property
    def refused_queues(self) -> Recent[dict[str, str]]:
        """The pools whose queue the broker refuses. To ask takes a connection, and anybody may ask us."""

        def ask() -> dict[str, str]:
            with suppress(StoreUnavailable):
                self.catalogue.refresh()
            names = sorted({worker.pool for worker in self.catalogue.workers.values()})
            return refused_queues(self.celery, names, _BROKER_PATIENCE)

        return Recent(ask, _ASKED_AFTER)

    @cached_property
    def missing_rights(self) -> Recent[list[str]]:
        """What the user of Redis may not do. To find out takes a connection and many commands."""
        return Recent(partial(rights.missing_of_stream, self.link), _ASKED_AFTER)

    @cached_property
    def metrics(self) -> Metrics:
        """What this process counts."""
        return Metrics()

    def note_skew(self) -> bool:
        """Find out how far this machine's clock is from the database's; whether that could be measured."""
        return clock.note_skew(*self.database.read(pools.clock_skew, time.time))

    def warm_up(self) -> None:
        """Find the workers, and start the process that checks configs, before the first request.

        Raises ConfigurationError where what a session follows is not set as it should be.
        """
        self.outbox.take_own()
        for begin in self.at_start:
            begin()
        with suppress(StoreUnavailable):
            self.catalogue.refresh()
        if any(worker.schema.needs_process for worker in self.catalogue.workers.values()):
            config_schema.processes.start()

    def hint(self, workspace_id: str, event_type: str, thread_id: str | None = None) -> None:
        """Notify the clients that list the workspace's threads of a change that no log has.

        ``thread_id``: the only thread that it is about; none: any may be.
        """
        about: dict[str, Json] = {"type": event_type} | ({"thread_id": thread_id} if thread_id else {})
        try:
            self.notices.to_workspace(workspace_id, about)
        except StreamUnavailable:
            pass  # only a hint: the lists are read again when they are opened

    def end_streams(self) -> None:
        """End every open stream, so that its client connects again, to another process."""
        self.stopping = True
        if "hub" in self.__dict__:
            self.hub.close()
        for end in self.at_stop:
            end()


def this_core() -> Core:
    """The core itself instead of its proxy, for use after the request has ended."""
    found: Core = current_app.extensions["branchline"]
    return found


core = cast(Core, LocalProxy(this_core))
"""A proxy for the core of the app that handles the current request."""
