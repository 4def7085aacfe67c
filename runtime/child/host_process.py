"""A host process as the pool sees it: the pool's end of the socket to :mod:`runtime.child.host`."""

from __future__ import annotations

import itertools
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

# gevent's os.close closes after the next event of whatever kind.
from posix import close
from typing import Any

from runtime.child.child_process import ChildProcess
from runtime.child.control_groups import ControlGroup
from runtime.child.egress import Access, Client, Gateway, Routes, routes
from runtime.child.pipes import ReadPipe, WritePipe, pipes
from runtime.errors import ChildFailed, ChildLost
from runtime.registry import Worker, WorkerType
from runtime.sandbox import folders
from runtime.sandbox.plan import Plan
from runtime.settings import CHECKOUT
from runtime.system import processes

log = logging.getLogger(__name__)

_IMPORT_TIMEOUT = 60.0
"""Seconds that a worker's import may take."""
_STARTUP_TIMEOUT = 600.0
"""Seconds that what it calls before its first run may take: it may load a model."""
_KILL_TIMEOUT = 10.0
"""Seconds that a host may take to end before it is killed."""
_REMOVAL_TIMEOUT = 5.0
"""Seconds that the end of a host is waited for to be handled, and its folder to be removed."""
_PING_AFTER = 2.0
"""Seconds of silence after which a host that has children is asked for a sign of life."""
_MAX_UNANSWERED = 5
"""How many times it is asked before it counts as stopped, and is killed. Seconds would not do:
they also pass while this process itself does not run."""
_MAX_MESSAGE = 256 * 1024
_LAST_OUTPUT = 1.0
"""Seconds that the last lines of a host may take once it has ended."""
_MAX_LINE = 4096
"""Bytes after which a line that it prints is logged before its end."""
_MOST_LINES = 200
"""Lines that are logged at once of what it prints; each takes some time, in which no run goes on."""
_OUTPUT_PAUSE = 0.1
"""Seconds between two looks at what it prints: one that prints without end waits, and not its pool."""
_KILLED = -signal.SIGKILL
_FROM_OUTSIDE = (-signal.SIGKILL, -signal.SIGTERM)
"""Ends that an import hardly brings about by itself."""


class HostGone(ChildLost):
    """its host process had ended, before it was told of the run"""


class HostProcess:
    """A host process: starts children on request, and reports their ends."""

    _numbers = itertools.count(1)

    def __init__(
        self,
        worker: Worker,
        environ: Mapping[str, str],
        plan: Plan | None,
        allowed: Routes | None,
        python: Path | None = None,
    ) -> None:
        """Start the host of a worker, with ``environ`` as its whole environment.

        It imports a Python worker and forks it; for all others it executes commands. First
        of all it enters the sandbox that ``plan`` describes; None: there is none. ``allowed``:
        what it is let out to, if that has no network. ``python``: the interpreter of the worker's
        own environment. Raises ChildLost where no process can be made.
        """
        self.python = worker.type is WorkerType.PYTHON
        self.alive = True
        self.started = 0
        """How many children it was asked for."""
        self.being_replaced = False
        """Whether its successor is being started."""
        self._plan = plan
        self._allowed = allowed
        self._gateway: Gateway | None = None
        self._worker_id = worker.id
        self._used = time.monotonic()
        self._children: dict[int, ChildProcess] = {}
        self.spares: list[ChildProcess] = []
        """Children that wait for their runs, the oldest first; see :mod:`runtime.child.launchers.spare`."""
        self.filling = threading.Lock()
        """Held by whoever starts or ends spares, so that nobody counts those that another one has begun."""
        self._retired = False
        self._imported = threading.Event()
        self._ready = threading.Event()
        self.threads = ""
        """What its worker's import has begun, as half a sentence, if it cannot be forked for that."""
        self.choices = False
        """Whether its worker says what may be chosen in its config."""
        self._unanswered = 0
        self._error: ChildFailed | None = None
        try:
            self._control, theirs = _socketpair()
        except OSError as error:
            self._remove_folder()
            raise ChildLost(f"no socket could be made: {error.strerror}") from error
        self._control.settimeout(_PING_AFTER)
        with theirs:
            try:
                self._process, self._output = _start(theirs, _environment(environ, plan))
            except OSError as error:
                self._control.close()
                self._remove_folder()
                raise ChildLost(f"no process could be made: {error.strerror}") from error
        entrypoint = str(worker.entrypoint) if self.python else None
        sandbox = plan.encode() if plan else None
        serve = {"entrypoint": entrypoint, "sandbox": sandbox, "python": str(python) if python else None}
        self._send({"type": "serve", **serve})
        self._listener = threading.Thread(target=self._listen, name="branchline-host", daemon=True)
        self._listener.start()
        self._logger = threading.Thread(target=self._log_output, daemon=True)
        self._logger.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def idle(self) -> float:
        """For how many seconds it has been without use; 0 while it has children."""
        return 0.0 if self._has_runs else time.monotonic() - self._used

    @property
    def _has_runs(self) -> bool:
        return any(child not in self.spares for child in self._children.values())

    def mark_used(self) -> None:
        """It is about to be asked for a child, or has just lost one."""
        self._used = time.monotonic()

    def wait_ready(self) -> None:
        """Wait until it has imported its worker. Raises ChildFailed where that fails."""
        if not self._imported.wait(_IMPORT_TIMEOUT):
            self._give_up(f"its import took longer than {_IMPORT_TIMEOUT:g} seconds")
        elif not self._ready.wait(_STARTUP_TIMEOUT):
            self._give_up(f"its startup took longer than {_STARTUP_TIMEOUT:g} seconds")
        if self._error is not None:
            raise self._error

    def _give_up(self, reason: str) -> None:
        self._error = import_failed(reason)
        self._process.kill()
        self.close()

    def start(self, request: dict[str, Any], line: bytes, group: ControlGroup | None) -> ChildProcess:
        """Start a child that finds ``line`` on its stdin. Raises ChildLost.

        ``request`` is the ``start`` message of the host's protocol, without the child's number and with
        the run's environment, which only the child is told.
        """
        if self._retired or not self.alive:
            raise HostGone
        number = next(self._numbers)
        request = dict(request)
        environ = json.dumps(self.environ_of(request.pop("environ"))).encode() + b"\n"
        with pipes() as (ours, theirs):
            child = ChildProcess(
                self, number, group, WritePipe(ours[0]), ReadPipe(ours[1]), ReadPipe(ours[2])
            )
            ours.clear()
            self._children[number] = child
            self.started += 1
            child.send(environ + line)
            more = {"child": number, "group": group is not None, "environ_bytes": len(environ)}
            message = json.dumps({**request, **more}).encode()
            try:
                with _entrance(group) as entrance:
                    socket.send_fds(self._control, [message], [*theirs, *entrance])
            except OSError as error:
                self.alive = False
                self._children.pop(number, None)
                child.close()
                raise HostGone from error
        try:
            child.wait_started()
        except ChildLost:
            child.close()
            raise
        return child

    def environ_of(self, run: Mapping[str, str]) -> dict[str, str]:
        """What ``run`` adds to a child's environment, as it is in the host's network."""
        return {**run, **({"BRANCHLINE_API_URL": routes.API_URL} if self._allowed is not None else {})}

    def kill(self, number: int, signal_number: int) -> None:
        """Signal a child's process group; SIGKILL reaches all that it has started."""
        self._send({"type": "kill", "child": number, "signal": int(signal_number)})

    def keep(self, spare: ChildProcess) -> None:
        """Have a spare ready for a run; it ends with the last one if this host is retired."""
        self.spares.append(spare)
        if self._retired and not self._has_runs:
            self.close()

    def retire(self) -> None:
        """Start no more children; end when the last run has ended."""
        self._retired = True
        if not self._has_runs:
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

    def wait_removed(self) -> None:
        """Wait until nothing is left of it, as of its folder, once it has ended."""
        self._listener.join(_REMOVAL_TIMEOUT)

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self._control.send(json.dumps(message).encode())
        except OSError:
            pass  # it has ended, which _listen notices

    def _listen(self) -> None:
        try:
            self._receive()
        except Exception:
            # Else nobody would learn how its children end, and their runs would hang.
            log.exception("a host process is killed, for what it sent cannot be handled; its runs are lost")
            self._process.kill()
        self._handle_end()

    def _receive(self) -> None:
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(self._control, _MAX_MESSAGE, 1)
            except TimeoutError:
                self._ping()
                continue
            except OSError:
                break
            if not data:
                break
            self._unanswered = 0
            self._handle(json.loads(data), descriptors)

    def _ping(self) -> None:
        """It has been silent: ask for a sign of life, and kill it where it gives none.

        Anybody with its user id can stop it, and its children could not be ended then.
        """
        if not self._children:
            self._unanswered = 0
        elif self._unanswered < _MAX_UNANSWERED:
            self._unanswered += 1
            self._send({"type": "ping"})
        else:
            log.warning("a host process does not answer and is killed; its runs are lost")
            self._process.kill()

    def _handle(self, message: dict[str, Any], descriptors: list[int]) -> None:
        match message["type"]:
            case "network":
                self._open_gateway(descriptors[0])
            case "imported":
                self._imported.set()
            case "ready":
                self.threads, self.choices = message["threads"], message["choices"]
                self._mark_ready()
            case "broken":
                reason = message["message"]
                self._error = ChildLost(reason) if message["lost"] else import_failed(reason)
                self._mark_ready()
            case "started":
                self._children[message["child"]].mark_started(message["pid"])
            case "refused":
                self._children.pop(message["child"]).mark_refused(message["message"])
            case "ended":
                self.mark_used()
                child = self._children.pop(message["child"])
                child.left, child.exceeded = message["left"], message["exceeded"]
                child.mark_ended(message["code"], message["lost"])
                if self._gateway is not None:
                    self._gateway.forget(child)
                if self._retired and not self._has_runs:
                    self.close()

    def _mark_ready(self) -> None:
        self._ready.set()
        self._imported.set()

    def _handle_end(self) -> None:
        """The host has ended, and its children with it: it kills them, or the kernel does.

        What they had started in their process groups may be left, if the host was
        killed and had no time to end it.
        """
        self.alive = False
        self._control.close()
        if self._gateway is not None:
            self._gateway.close()
        self.wait()
        processes.signal_group(self.pid, signal.SIGKILL)  # what its worker has started, if it was killed
        self._logger.join(_LAST_OUTPUT)
        self._output.close()
        if not self._ready.is_set():
            self._error = self._error or self._end_of_import()
            self._mark_ready()
        for child in self._children.values():
            child.kill_group()
            child.mark_ended(_KILLED, "the process that had started it ended")
        self._children.clear()
        self._remove_folder()

    def _log_output(self) -> None:
        """Log what it prints: above all its worker while it is imported, whose author may write anything."""
        rest = b""
        while chunk := self._output.read():
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > _MAX_LINE:
                lines, rest = [*lines, rest], b""
            for line in lines[:_MOST_LINES]:
                self._log_line(line)
            if len(lines) > _MOST_LINES:
                log.info("worker %s printed %d lines more", self._worker_id, len(lines) - _MOST_LINES)
            time.sleep(_OUTPUT_PAUSE)
        if rest:
            self._log_line(rest)

    def _log_line(self, line: bytes) -> None:
        log.info("worker %s printed: %s", self._worker_id, line.decode("utf-8", "replace"))

    # ── its network ─────────────────────────────────────────────────────────

    def report(self, access: Access) -> None:
        """For the gateway: while its worker was imported, it has connected somewhere, or was refused."""
        log.info("worker %s: while it was imported: %s", self._worker_id, access)

    def _open_gateway(self, descriptor: int) -> None:
        listener = socket.socket(fileno=descriptor)
        if self._allowed is None or self._gateway is not None or self._ready.is_set():
            return listener.close()  # what it has imported says so, and not we
        self._gateway = Gateway(listener, self.pid, self._allowed, self._clients)

    def _clients(self) -> Iterator[tuple[int, Client]]:
        """Who may connect. The host comes last: all others descend from it."""
        started = [child for child in self._children.values() if child.pid]
        starting = [child for child in self._children.values() if not child.pid]
        for child in (*started, *starting):
            if pid := child.await_pid():
                yield pid, child
        yield self.pid, self

    def _remove_folder(self) -> None:
        """Remove what it and its runs have written."""
        if self._plan is not None:
            folders.remove_aside(self._plan.folder)

    def _end_of_import(self) -> ChildFailed:
        """Why it has ended before it was ready."""
        code = self._process.returncode
        if code in _FROM_OUTSIDE:
            return ChildLost("the process that imported the worker was killed")
        how = processes.describe_exit(code)
        return import_failed(f"its host process ended with {how}; see the pool's log")


def _start(control: socket.socket, environ: Mapping[str, str]) -> tuple[subprocess.Popen[bytes], ReadPipe]:
    """The process of a host, and what it prints. Raises OSError."""
    reader, writer = os.pipe()
    output = ReadPipe(reader)
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "runtime.child.host", str(control.fileno())],
            cwd=CHECKOUT,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=writer,
            stderr=writer,
            pass_fds=[control.fileno()],
            start_new_session=True,
        )
    except OSError:
        output.close()
        raise
    finally:
        close(writer)
    return process, output


def _environment(environ: Mapping[str, str], plan: Plan | None) -> dict[str, str]:
    """The host is at home in a folder of its own, for its worker's import may want to write."""
    return {**environ, **({"HOME": plan.home, "TMPDIR": plan.home} if plan else {})}


def _entrance(group: ControlGroup | None) -> AbstractContextManager[list[int]]:
    """The descriptor by which a child enters its control group; none where it has none."""
    return group.entrance() if group is not None else nullcontext([])


def import_failed(reason: str) -> ChildFailed:
    """``reason``: half a sentence."""
    return ChildFailed(f"The worker could not be imported: {reason}.")


def _socketpair() -> tuple[socket.socket, socket.socket]:
    """Two ends that keep message boundaries."""
    if processes.LINUX:
        return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)  # macOS has no such type
