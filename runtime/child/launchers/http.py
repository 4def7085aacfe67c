"""Workers of type ``http``: web services, to which a run is posted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from runtime.child.launchers.launcher import LaunchContext
from runtime.registry import Worker

if TYPE_CHECKING:
    from runtime.child.http_child import HttpChild


class HttpLauncher:
    """Posts the run to the worker's URL."""

    def __init__(self, context: LaunchContext) -> None:
        """Needs only the variables: no process is started here."""
        self._environ = context.environ

    def warm(self, worker: Worker) -> None:
        """There is nothing to prepare."""

    def start(self, worker: Worker, environ: Mapping[str, str], line: bytes) -> HttpChild:
        """A child that posts the first line it is sent."""
        # Only pools of such workers need an HTTP client in memory.
        from runtime.child.http_child import HttpChild

        secret = worker.http.secret and self._environ.get(worker.http.secret)
        child = HttpChild(worker, worker.url_in(self._environ), environ, secret)
        if line:
            child.send(line)
        return child
