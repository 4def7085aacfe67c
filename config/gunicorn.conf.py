"""How gunicorn serves the web process: `branchline web`.

Under gevent a stream costs a greenlet, not a thread, so one process holds
thousands of them. Nothing is preloaded: each process patches itself first.
"""

from __future__ import annotations

import gc
import socket
import sys
import tomllib
from pathlib import Path
from typing import Any

import gevent
from gunicorn import util
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from gunicorn.workers.base import Worker

from runtime.settings import current

_settings = current()


class ErrorsOnly(Logger):
    """Requests are counted at /metrics; a line for each would cost more than many of them."""

    def access(self, *_: object) -> None:
        """Nothing."""

    def exception(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """That a client has vanished is no error of ours."""
        if not isinstance(sys.exc_info()[1], TimeoutError):
            super().exception(msg, *args, **kwargs)


def write_problem(client: socket.socket, status: int, reason: str, detail: str) -> None:
    """Answer what is no HTTP, and never reaches the app, as the app answers everything else."""
    from web.http.errors import problem  # not before the worker has patched itself

    answer = problem(status, reason.lower().replace(" ", "-"), reason, detail or reason)
    answer.headers["Connection"] = "close"
    head = "".join(f"{name}: {value}\r\n" for name, value in answer.headers)
    util.write_nonblock(client, f"HTTP/1.1 {answer.status}\r\n{head}\r\n".encode("latin-1") + answer.data)


util.write_error = write_problem  # which every worker class calls, and none lets be chosen

wsgi_app = "web:create_app()"
chdir = str(Path(__file__).resolve().parent.parent)
bind = f"{_settings.service.host}:{_settings.service.port}"
backlog = 4096

worker_class = "gevent"
workers = _settings.web.workers
worker_connections = _settings.web.connections
timeout = 60
graceful_timeout = int(_settings.web.drain)
keepalive = 75

control_socket_disable = True
logger_class = ErrorsOnly
logconfig_dict = tomllib.loads((Path(__file__).parent / "logging.toml").read_text())


def when_ready(server: Arbiter) -> None:
    """Have the kernel give up clients that take nothing, and answer nothing, for too long.

    The connections inherit it. Who reads a stream and is alive comes back and goes on where he was.
    """
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        for listener in server.LISTENERS:
            milliseconds = int(_settings.stream.patience * 1000)
            listener.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)


def post_worker_init(worker: Worker) -> None:
    """Hear of revocations from now on, and have the streams end when the process is told to stop."""
    core = worker.wsgi.extensions["branchline"]
    core.credentials.listen()

    def end_streams() -> None:  # by themselves they never would
        while worker.alive:
            gevent.sleep(0.1)
        core.end_streams()

    gevent.spawn(end_streams)
    # What is here now stays; thousands of streams make many objects, and few that refer in circles.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
