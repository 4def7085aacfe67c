"""What the processes of Branchline are made of, put together once per process."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from urllib.parse import urlsplit

from celery import Celery

from runtime.files import Files
from runtime.queue.announcer import Announcer
from runtime.queue.app import make_celery
from runtime.queue.publisher import Publisher
from runtime.registry import Registry, discover
from runtime.registry.catalogue import Catalogue
from runtime.settings import Settings
from runtime.store import Database
from runtime.stream import EventLog, Inbox, Link, Notices, Offers


class Services:
    """Everything is made when first asked for, so that a process has only what it uses."""

    def __init__(self, settings: Settings, celery: Celery | None = None) -> None:
        """``celery``: the one to publish with, where the process already has one."""
        self.settings = settings
        self._celery = celery

    @cached_property
    def celery(self) -> Celery:
        """The app to publish with."""
        return self._celery or make_celery(self.settings)

    @cached_property
    def registry(self) -> Registry:
        """The workers in the folders of this machine."""
        return discover(self.settings.worker_folders)

    @cached_property
    def database(self) -> Database:
        """The database."""
        return Database(self.settings.database_url, self.settings.database)

    @cached_property
    def files(self) -> Files:
        """What users and runs add to conversations."""
        return Files(self.database, self.settings)

    @cached_property
    def link(self) -> Link:
        """The connections to Redis."""
        settings = self.settings
        return Link(settings.redis_url, settings.redis, settings.service.branchline_installation)

    @cached_property
    def log(self) -> EventLog:
        """The event logs of all threads."""
        return EventLog(self.link, self.settings.log)

    @cached_property
    def notices(self) -> Notices:
        """Messages to pool processes and workspaces."""
        return Notices(self.link)

    @cached_property
    def inbox(self) -> Inbox:
        """The lines that workers send over HTTP."""
        return Inbox(self.link)

    @cached_property
    def offers(self) -> Offers:
        """What machines elsewhere offer to execute."""
        return Offers(self.link)

    @cached_property
    def catalogue(self) -> Catalogue:
        """The workers that there are, wherever their folders are, and which of them can run."""
        return Catalogue(self.database, self.settings.pool.lease, lambda: self.registry)

    @cached_property
    def announcer(self) -> Announcer:
        """Appends to the event logs what was committed."""
        return Announcer(self.database, self.log, self.notices)

    def open_to_runs(self) -> Iterator[str]:
        """The services that a run could use, since they want no password; each as a sentence."""
        if self.database.engine.is_open_to_all():
            yield "the database wants no password, so a run can connect to it; give it one (DATABASE_URL)"
        if self.link.is_open_to_all():
            yield "Redis wants no password, so a run can connect to it; give it one (REDIS_URL)"
        if urlsplit(self.settings.broker_url).password in ("guest", None) and self._has_own_broker():
            yield "the broker has the password that it comes with, or none; give it one (BROKER_URL)"

    def _has_own_broker(self) -> bool:
        return self.settings.broker_url != self.settings.redis_url

    @cached_property
    def publisher(self) -> Publisher:
        """Gets runs to the broker."""
        settings = self.settings
        return Publisher(self.database, self.celery, settings.pool.lease, settings.limits.running_per_user)
