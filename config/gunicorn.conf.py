"""How gunicorn serves the web process: `branchline web`.

Under gevent a stream costs a greenlet, not a thread, so one process holds
thousands of them. Nothing is preloaded: each process patches itself first.
"""

from __future__ import annotations

import gc
import tomllib
from pathlib import Path

import gevent
from gunicorn.glogging import Logger
from gunicorn.workers.base import Worker

from runtime.settings import current

_settings = current()


class ErrorsOnly(Logger):
    """Requests are counted at /metrics; a line for each would cost more than many of them."""

    def access(self, *_: object) -> None:
        """Nothing."""


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


def post_worker_init(worker: Worker) -> None:
    """Hear of revocations from now on, and have the streams end when the process is told to stop."""
    core = worker.wsgi.extensions["branchline"]
    core.holders.listen()

    def end_streams() -> None:  # by themselves they never would
        while worker.alive:
            gevent.sleep(0.1)
        core.end_streams()

    gevent.spawn(end_streams)
    # What is here now stays; thousands of streams make many objects, and few that refer in circles.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
