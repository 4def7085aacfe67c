"""The path of a host below which an installation is served (BASE_PATH), where the host has more than this.

The proxy in front passes addresses on as they are. Outside of the path there are only the
probes, which do not come through the proxy, and an answer that says where to look.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from flask import Flask, request

from runtime.errors import NotFound
from web.http.hosts import PROBES

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class BasePath:
    """Divides the address of a request into SCRIPT_NAME, the base path, and PATH_INFO, the rest (PEP 3333).

    The app routes by the second, and puts the first before each address that it makes.
    An address outside of the base path is left as it is.
    """

    def __init__(self, app: WSGIApplication, base_path: str) -> None:
        self._app = app
        self._base_path = base_path

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer, as WSGI has it."""
        path = environ["PATH_INFO"]
        if f"{path}/".startswith(f"{self._base_path}/"):
            environ["SCRIPT_NAME"] = self._base_path
            environ["PATH_INFO"] = path.removeprefix(self._base_path) or "/"
        return self._app(environ, start_response)


def init_app(app: Flask, base_path: str) -> None:
    """Serve ``app`` below ``base_path``, which is also the path of its cookies."""
    app.config["APPLICATION_ROOT"] = base_path
    app.wsgi_app = BasePath(app.wsgi_app, base_path)  # type: ignore[method-assign]
    app.before_request(partial(_refuse_outside, base_path))


def _refuse_outside(base_path: str) -> None:
    if request.script_root != base_path and request.path not in PROBES:
        raise NotFound(f"There is nothing at this address. Branchline is at {base_path}/ of this host.")
