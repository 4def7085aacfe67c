"""A host process as the pool sees it: the pool's end of the socket to :mod:`runtime.child.host`."""

from __future__ import annotations

import itertools
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

from runtime.child.child_process import ChildProcess
from runtime.child.control_groups import ControlGroup
from runtime.child.pipes import ReadPipe, WritePipe, pipes
from runtime.errors import ChildFailed
from runtime.registry import Worker, WorkerType
from runtime.settings import CHECKOUT

_IMPORT_TIMEOUT = 60.0
"""Seconds that a worker's import may take."""
_KILL_TIMEOUT = 10.0
"""Seconds that a host may take to end before it is killed."""
_MAX_MESSAGE = 256 * 1024
_KILLED = -signal.SIGKILL


class HostProcess:
    """A host process: starts children on request, and reports their ends."""

    _numbers = itertools.count(1)

    def __init__(self, worker: Worker, environ: Mapping[str, str]) -> None:
        """Start the host of a worker, with ``environ`` as its whole environment.

        It imports a Python worker and forks it; for all others it executes commands.
        Raises ChildFailed where no process can be made.
        """
        self.digest = worker.digest
        """The version of the worker."""
        self.python = worker.type is WorkerType.PYTHON
        self.alive = True
        self.started = 0
        """How many children it was asked for."""
        self.being_replaced = False
        """Whether its successor is being started."""
        self._used = time.monotonic()
        self._children: dict[int, ChildProcess] = {}
        self._retired = False
        self._ready = threading.Event()
        self._error: str | None = None
        self._control, theirs = _socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "runtime.child.host", str(theirs.fileno())],
                    cwd=CHECKOUT,
                    env=dict(environ),
                    stdin=subprocess.DEVNULL,
                    stdout=sys.__stderr__ if sys.__stderr__ is not None else subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
            except OSError as error:
                self._control.close()
                raise ChildFailed(f"No process could be made: {error.strerror}.") from error
        self._send({"type": "serve", "entrypoint": str(worker.entrypoint) if self.python else None})
        threading.Thread(target=self._listen, name="branchline-host", daemon=True).start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def idle(self) -> float:
        """For how many seconds it has been without use; 0 while it has children."""
        return 0.0 if self._children else time.monotonic() - self._used

    def mark_used(self) -> None:
        """It is about to be asked for a child, or has just lost one."""
        self._used = time.monotonic()

    def wait_ready(self) -> None:
        """Wait until it has imported its worker. Raises ChildFailed where that fails."""
        if not self._ready.wait(_IMPORT_TIMEOUT):
            self._error = f"its import took longer than {_IMPORT_TIMEOUT:g} seconds"
            self._process.kill()
            self.close()
        if self._error is not None:
            raise ChildFailed(f"The worker could not be imported: {self._error}.")

    def start(self, request: dict[str, Any], line: bytes, group: ControlGroup | None) -> ChildProcess:
        """Start a child that finds ``line`` on its stdin. Raises ChildFailed.

        ``request`` is the ``start`` message of the host's protocol, without the child's number.
        """
        number = next(self._numbers)
        with pipes() as (ours, theirs):
            child = ChildProcess(
                self, number, group, WritePipe(ours[0]), ReadPipe(ours[1]), ReadPipe(ours[2])
            )
            ours.clear()
            self._children[number] = child
            self.started += 1
            if line:
                child.send(line)
            message = json.dumps({**request, "child": number}).encode()
            try:
                socket.send_fds(self._control, [message], theirs)
            except OSError as error:
                self._children.pop(number, None)
                child.close()
                raise ChildFailed(
                    f"The worker's host process cannot be reached: {error.strerror}."
                ) from error
        try:
            child.wait_started()
        except ChildFailed:
            child.close()
            raise
        return child

    def kill(self, number: int, signal_number: int) -> None:
        """Signal a child's process group; SIGKILL reaches all that it has started."""
        self._send({"type": "kill", "child": number, "signal": int(signal_number)})

    def retire(self) -> None:
        """Start no more children; end when the last one has ended."""
        self._retired = True
        if not self._children:
            self.close()

    def close(self) -> None:
        """End it and its children."""
        try:
            self._control.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it has ended already

    def wait(self) -> None:
        """Wait for its end."""
        try:
            self._process.wait(_KILL_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self._control.send(json.dumps(message).encode())
        except OSError:
            pass  # it has ended, which _listen notices

    def _listen(self) -> None:
        while True:
            try:
                data = self._control.recv(_MAX_MESSAGE)
            except OSError:
                break
            if not data:
                break
            self._handle(json.loads(data))
        self._handle_end()

    def _handle(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "ready":
                self._ready.set()
            case "broken":
                self._error = message["message"]
                self._ready.set()
            case "started":
                self._children[message["child"]].mark_started(message["pid"])
            case "refused":
                self._children.pop(message["child"]).mark_refused(message["message"])
            case "ended":
                self.mark_used()
                self._children.pop(message["child"]).mark_ended(message["code"])
                if self._retired and not self._children:
                    self.close()

    def _handle_end(self) -> None:
        """The host has ended, and its children with it: it kills them, or the kernel does.

        What they had started in their process groups may be left, if the host was
        killed and had no time to end it.
        """
        self.alive = False
        self._control.close()
        if not self._ready.is_set():
            self._error = self._error or "its host process has ended; see the pool's log"
            self._ready.set()
        self.wait()
        for child in self._children.values():
            child.kill_group()
            child.mark_ended(_KILLED)
        self._children.clear()


def _socketpair() -> tuple[socket.socket, socket.socket]:
    """Two ends that keep message boundaries."""
    try:
        return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    except OSError:  # not on macOS
        return socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
