"""One process of the pool, as the caller sees it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from runtime.errors import LimitExceeded, Unavailable
from runtime.process_pool.wire import receive, send

Function = Callable[[Any], Any]
"""From JSON to JSON, and at the top level of its module: the process imports it."""

_CHECKOUT = Path(__file__).resolve().parent.parent.parent
_START_TIMEOUT = 30.0
"""Seconds that a process may take until it has imported its function."""
_TOO_LONG = (-signal.SIGPROF, -signal.SIGXCPU)
"""How a process ends that has used its time."""


class ProcessEnded(Exception):
    """The process has ended, and not because its time was over."""


class Process:
    """A process that calls the function for one argument after the other."""

    def __init__(self, name: str, seconds: float, environ: Mapping[str, str]) -> None:
        """Start it. Raises Unavailable."""
        self._socket, theirs = socket.socketpair()
        self._ready = False
        with theirs:
            arguments = [str(theirs.fileno()), name, str(seconds)]
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "runtime.process_pool", *arguments],
                    cwd=_CHECKOUT,
                    env={**environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
            except OSError as error:
                self._socket.close()
                raise Unavailable("No process could be made for this check; try again.") from error

    def call(self, argument: Any, timeout: float) -> Any:
        """What the function returns. ``timeout``: seconds.

        Raises LimitExceeded, ProcessEnded, Unavailable.
        """
        try:
            if not self._ready:
                self._socket.settimeout(_START_TIMEOUT)
                receive(self._socket)
                self._ready = True
        except OSError as error:
            raise Unavailable("The process for this check did not start; try again.") from error
        try:
            self._socket.settimeout(timeout)
            send(self._socket, argument)
            answer = receive(self._socket)
        except TimeoutError as error:
            raise LimitExceeded from error
        except OSError as error:
            if self._process.wait(timeout) in _TOO_LONG:
                raise LimitExceeded from error
            raise ProcessEnded from error
        if answer is None:
            raise LimitExceeded
        return answer["returned"]

    def close(self) -> None:
        """End it at once."""
        self._socket.close()
        self._process.kill()
        self._process.wait()
