"""Where Socket.IO begins: its server is made for the first client that connects.

The packages that it takes cost a web process a third of a second and 16 MB, and most
installations have no such client.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Flask
from gevent.lock import BoundedSemaphore

from runtime.system.greenlets import ThreadPool
from web.core import Core
from web.http.hosts import Hosts

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from web.panel.sockets import Sockets

_PATH = "/socket.io/"


class Entrance:
    """Serves Socket.IO below ``/socket.io``, and everything else by the app."""

    def __init__(self, app: Flask, core: Core) -> None:
        self._flask = app
        self._app: WSGIApplication = app.wsgi_app
        self._core = core
        self._hosts = Hosts.of(core.settings)
        self._making = BoundedSemaphore()
        self._made: Sockets | None = None

    @classmethod
    def init_app(cls, app: Flask, core: Core) -> None:
        """Serve it with ``app``."""
        app.wsgi_app = cls(app, core)  # type: ignore[method-assign]

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer, as WSGI has it. A foreign host name is the app's to refuse."""
        if environ["PATH_INFO"].startswith(_PATH) and environ.get("HTTP_HOST", "") in self._hosts:
            return self._sockets()(environ, start_response)
        return self._app(environ, start_response)

    def _sockets(self) -> Sockets:
        with self._making:
            if self._made is None:
                # In a thread: streams go on meanwhile.
                self._made = ThreadPool(1).call(_import)(self._flask, self._core)
                self._made.start()
            return self._made


def _import() -> type[Sockets]:
    from web.panel.sockets import Sockets

    return Sockets
