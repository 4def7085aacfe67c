"""How gunicorn serves the web process: `branchline web`.

Under gevent a stream costs a greenlet, not a thread, so one process holds
thousands of them. Nothing is preloaded: each process patches itself first.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import gevent
from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker as AnyWorker

from runtime import logs
from runtime.duties import EXIT_CODE, every
from runtime.logs import log_uncaught
from runtime.settings import current
from runtime.system import collector, processes
from web.http.clients import Bounds, Clients
from web.http.gunicorn import ErrorLogger, Worker, listening_sockets, replace_error_page, serve_to_the_last

processes.hide()
_settings = current()
collector.settle()
_HURRY = 5
"""Seconds that a process whose duties fail may take to stop beyond those for its requests."""

_FILES_CLEANED_UP = 300.0
"""Seconds between two looks for files that nobody needs."""
_CLOCK_COMPARED = 10.0
"""Seconds between two looks how far the clock is from the database's."""

_TIMEOUT = 408
"""The one status that is not gunicorn's own, see web/http/gunicorn.py."""


def render_problem(status: int, reason: str, detail: str) -> bytes:
    """The response to what is not valid HTTP: a problem document, as for every other error."""
    from web.http.problems import raw_problem  # not before the worker has patched itself

    # What gunicorn says of it is the text of an exception, and repeats what was sent.
    return raw_problem(status, reason, detail if status == _TIMEOUT else "")


replace_error_page(render_problem)
serve_to_the_last()

wsgi_app = "web.app:create_app()"
chdir = str(Path(__file__).resolve().parent.parent)
bind = _settings.authority(_settings.service.port)
backlog = 4096

worker_class = Worker
workers = _settings.web.workers
worker_connections = _settings.web.connections
timeout = 60
graceful_timeout = int(_settings.web.drain)
keepalive = 75
forwarder_headers = ""  # else a client on this machine could set SCRIPT_NAME

# Most connections are for streams; this many may be for requests that are still to come. Behind
# a proxy all have the same address, and the proxy bounds what each of its clients may do.
_waiting = max(16, _settings.web.connections // 6)
Worker.clients = Clients(
    Bounds(
        patience=_settings.web.request_timeout,
        idle=keepalive,
        total=_waiting,
        per_address=_waiting if _settings.web.trusted_proxies else max(16, _waiting // 2),
        capacity=_settings.web.connections,
    )
)

control_socket_disable = True
logger_class = ErrorLogger
logconfig_dict = logs.configuration(_settings)


def when_ready(server: Arbiter) -> None:
    """Have the kernel close connections whose client has acknowledged nothing for too long.

    Accepted connections inherit the option. A client that is alive after all connects
    again, and goes on from the last event that it has.
    """
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        for listener in listening_sockets(server):
            milliseconds = int(_settings.stream.patience * 1000)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)


def post_worker_init(worker: AnyWorker) -> None:
    """Begin what the process does beside its requests, and warm up."""
    log_uncaught()
    core = worker.wsgi.extensions["branchline"]
    core.duties.give_up = end_process
    core.credentials.listen(core.duties)

    def end_streams() -> Iterator[None]:  # by themselves they never would
        while worker.alive:
            gevent.sleep(0.1)
            yield
        core.end_streams()

    def compare_clocks() -> Iterator[None]:
        while True:
            measured = core.note_skew()
            yield
            gevent.sleep(_CLOCK_COMPARED if measured else 1.0)

    core.duties.start("watch for the stop", end_streams, once=True)
    core.duties.start("compare clocks", compare_clocks, essential=False)
    core.duties.start("delete unused files", every(_FILES_CLEANED_UP, core.files.clean_up), essential=False)
    core.warm_up()
    # What was imported stays for good. Thousands of streams allocate many objects, but few
    # cycles, so the collector looks for those less often than by default.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def end_process(_: str) -> None:
    """Stop this web process, which cannot do one of its duties; gunicorn starts another."""
    os.kill(os.getpid(), signal.SIGTERM)
    gevent.spawn_later(graceful_timeout + _HURRY, os._exit, EXIT_CODE)
