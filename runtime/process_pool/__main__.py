"""The process itself: ``python -m runtime.process_pool DESCRIPTOR MODULE:FUNCTION SECONDS``."""

from __future__ import annotations

import importlib
import os
import resource
import signal
import socket
import sys
from contextlib import suppress

from runtime.process_pool.process import Function
from runtime.process_pool.wire import receive, send
from runtime.system import collector

_MEMORY = 1 << 30
"""Bytes of address space that it may have."""
_NICENESS = 5


def _serve(connection: socket.socket, function: Function, seconds: float) -> None:
    """Answer until the other side closes. The kernel ends this process in a call that takes too long."""
    while True:
        argument = receive(connection)
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            answer = {"returned": function(argument)}
        except MemoryError:
            answer = None
        signal.setitimer(signal.ITIMER_PROF, 0)
        send(connection, answer)


def _main(descriptor: str, name: str, seconds: str) -> None:
    module, _, attribute = name.partition(":")
    with collector.paused():
        function = getattr(importlib.import_module(module), attribute)
    os.nice(_NICENESS)
    with suppress(ValueError, OSError):  # macOS has no such limit
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    with socket.socket(fileno=int(descriptor)) as connection, suppress(ConnectionError):
        connection.setblocking(True)  # gevent has made it otherwise, where the caller runs under it
        send(connection, "ready")
        _serve(connection, function, float(seconds))


if __name__ == "__main__":
    _main(*sys.argv[1:])
