"""Children as the pool sees them: start one, talk to it, end it.

The pool process makes no child itself. It asks a host (:mod:`runtime.child.host`),
which is started when the first run of a worker needs it, and passes it the pipes.
Under gevent everything here lets other greenlets run while it waits.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from runtime.child.groups import Group, Groups, NotDelegated
from runtime.child.pipes import ReadPipe, WritePipe, pipes
from runtime.errors import ChildFailed
from runtime.registry import Worker, WorkerType
from runtime.settings import CHECKOUT, Settings

if TYPE_CHECKING:
    from runtime.child.launchers.http import RemoteChild

log = logging.getLogger(__name__)

_IMPORT_TIMEOUT = 60.0
"""Seconds that a worker's import may take."""
_START_TIMEOUT = 10.0
"""Seconds that a host that is ready may take to start a child."""
_KILL_TIMEOUT = 10.0
"""Seconds after SIGKILL in which the kernel must have ended a child."""
_REMIND = 0.25
"""Seconds after which a Python worker is sent SIGTERM again: one that comes in the
moment before it begins to wait for something is not noticed until the wait is over."""
_MAX_MESSAGE = 256 * 1024
_KILLED = -signal.SIGKILL

_BASICS = frozenset({"PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "VIRTUAL_ENV", "SYSTEMROOT"})
_BASIC_PREFIXES = ("LC_",)
_PYTHON = frozenset({"PYTHONPATH", "PYTHONHOME", "PYTHONUTF8", "PYTHONHASHSEED", "PYTHONDONTWRITEBYTECODE"})


class Child:
    """One process that executes a run."""

    def __init__(
        self,
        host: _Host,
        number: int,
        group: Group | None,
        stdin: WritePipe,
        stdout: ReadPipe,
        stderr: ReadPipe,
    ) -> None:
        self.pid = 0
        """Set once it is started."""
        self.overdrawn = False
        """Set once it has ended: whether the kernel has killed it, or what it had started, for its memory."""
        self._group = group
        self._host = host
        self._number = number
        self._stdin = stdin
        self._stdout = stdout
        self._stderr = stderr
        self._started = threading.Event()
        self._ended = threading.Event()
        self._refusal: str | None = None
        self._code: int | None = None

    def read(self) -> bytes:
        """The next chunk of stdout, of at most 64 KiB; waits for it. Empty: it is closed."""
        return self._stdout.read()

    def read_log(self) -> bytes:
        """The same of stderr."""
        return self._stderr.read()

    def send(self, line: bytes) -> None:
        """Send a line to stdin, with a line break if it has none. Never waits."""
        self._stdin.send(line if line.endswith(b"\n") else line + b"\n")

    def close_stdin(self) -> None:
        """End its stdin after what was sent, which asks it to stop."""
        self._stdin.finish()

    def wait(self, timeout: float | None = None) -> int | None:
        """Its exit code (negative: the signal that ended it); None if it lives after ``timeout`` seconds."""
        return self._code if self._ended.wait(timeout) else None

    def stop(self, grace: float) -> None:
        """End it, and all that it has started; returns when it is gone.

        SIGTERM to its process group, and SIGKILL to everything after ``grace`` seconds.
        What it wrote before can still be read.
        """
        until = time.monotonic() + grace
        while not self._ended.is_set() and (left := until - time.monotonic()) > 0:
            self._host.kill(self._number, signal.SIGTERM)
            self._ended.wait(min(left, _REMIND) if self._host.python else left)
        if not self._ended.is_set():
            self._host.kill(self._number, signal.SIGKILL)
            self._ended.wait(_KILL_TIMEOUT)
        self._stdin.close()

    def close(self) -> None:
        """Give its pipes and its group back. What was not read is lost."""
        self._stdin.close()
        self._stdout.close()
        self._stderr.close()
        if self._group is not None:
            self._group.end()
            self._group = None

    def _kill_group(self) -> None:
        if not self.pid:
            return
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass  # nothing is left of it

    def _wait_started(self) -> None:
        if not self._started.wait(_START_TIMEOUT):
            self.stop(0)
            raise ChildFailed("The worker's process was not started in time; the machine may be overloaded.")
        if self._refusal is not None:
            raise ChildFailed(f"The worker's process could not be started: {self._refusal}.")

    def _note_started(self, pid: int) -> None:
        self.pid = pid
        self._started.set()

    def _note_refused(self, message: str) -> None:
        self._refusal = message
        self._note_ended(0)

    def _note_ended(self, code: int) -> None:
        if not self._started.is_set() and self._refusal is None:
            self._refusal = "its host process has ended"
        self._code = code
        self.overdrawn = self._group is not None and self._group.overdrawn()
        self._ended.set()
        self._started.set()
        self._stdin.close()


class Children:
    """All children of a pool process, and their hosts."""

    def __init__(self, settings: Settings, environ: Mapping[str, str] | None = None) -> None:
        """``environ``: where children get their variables from; the process's own if None."""
        self._recycle = settings.pool.host_recycle
        self._environ = os.environ if environ is None else environ
        self._hosts: dict[str, _Host] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._closed = False

    def start(
        self, worker: Worker, *, run_id: str, environ: Mapping[str, str], line: bytes = b""
    ) -> Child | RemoteChild:
        """Start a child for a run; ``environ`` is added to what the worker may see.

        It finds ``line`` on its stdin, and need not wait for it until we know that it
        has started. Raises ChildFailed: it cannot be executed, or its import fails.
        """
        if worker.type is WorkerType.HTTP:
            from runtime.child.launchers.http import RemoteChild  # few pools need an HTTP client

            remote = RemoteChild(worker, {"BRANCHLINE_RUN_ID": run_id, **environ})
            if line:
                remote.send(line)
            return remote
        command = self._command(worker)
        host = self._host(worker)
        group = self._group(worker)
        order = {
            "type": "start",
            "command": command,
            "folder": str(worker.folder),
            # What its host has from the start, a fork of it need not be told.
            "environ": {
                **(self._worker_environ(worker) if command else {}),
                "BRANCHLINE_RUN_ID": run_id,
                **environ,
            },
            "memory_bytes": worker.limits.memory_bytes,
            "open_files": worker.limits.open_files,
            "group": str(group.path) if group else None,
        }
        try:
            return host.start(order, line, group)
        except ChildFailed:
            if group is not None:
                group.end()
            raise

    def warm(self, worker: Worker) -> None:
        """Start the worker's host, so that its first run need not wait. Raises ChildFailed."""
        if worker.type is not WorkerType.HTTP:
            self._host(worker)

    def close(self) -> None:
        """End all children and hosts."""
        self._closed = True
        for host in self._hosts.values():
            host.close()
        for host in self._hosts.values():
            host.wait()
        self._hosts.clear()

    def _group(self, worker: Worker) -> Group | None:
        """A group for a run of the worker, if it limits its memory and groups can be made."""
        if worker.limits.memory_bytes is None or self._groups is None:
            return None
        try:
            return self._groups.make(worker.limits.memory_bytes)
        except OSError as error:
            log.warning(
                "a run's processes are limited one by one, for no control group can be made: %s", error
            )
            return None

    @cached_property
    def _groups(self) -> Groups | None:
        try:
            return Groups()
        except NotDelegated as reason:
            log.info("memory_bytes limits the processes of a run one by one: %s", reason)
            return None

    def _host(self, worker: Worker) -> _Host:
        """The worker's host; a new one for another digest and after a death."""
        python = worker.type is WorkerType.PYTHON
        key, digest = (worker.id, worker.digest) if python else ("", "")
        with self._locks.setdefault(key, threading.Lock()):
            if self._closed:
                raise ChildFailed("The pool is shutting down.")
            host = self._hosts.get(key)
            if host is None or not host.alive or host.digest != digest:
                return self._replace(key, digest, worker)
            if host.started >= self._recycle and not host.ageing:
                host.ageing = True
                threading.Thread(target=self._renew, args=(key, digest, worker), daemon=True).start()
            return host

    def _renew(self, key: str, digest: str, worker: Worker) -> None:
        """Replace a host that has started many children; it goes on until the next one is ready."""
        try:
            self._replace(key, digest, worker)
        except ChildFailed:
            self._hosts[key].ageing = False  # try again at the next start

    def _replace(self, key: str, digest: str, worker: Worker) -> _Host:
        python = worker.type is WorkerType.PYTHON
        host = _Host(
            digest,
            str(worker.entrypoint) if python else None,
            self._host_environ(worker if python else None),
        )
        host.wait_ready()
        before = self._hosts.get(key)
        self._hosts[key] = host
        if before is not None:
            before.retire()
        if self._closed:
            host.close()
        return host

    def _command(self, worker: Worker) -> list[str] | None:
        match worker.type:
            case WorkerType.PYTHON:
                return None
            case WorkerType.NODE:
                return [self._find("node"), str(worker.entrypoint)]
            case WorkerType.EXEC:
                return [self._find(worker.command[0]), *worker.command[1:]]
        raise AssertionError(f"a worker of type {worker.type} has no command")

    def _find(self, program: str) -> str:
        path = shutil.which(program, path=self._environ.get("PATH"))
        if path is None:
            raise ChildFailed(f"The program {program!r} is not there, or may not be executed.")
        return path

    def _host_environ(self, worker: Worker | None) -> dict[str, str]:
        """What a host sees: no secret of the pool, and of the worker's only where it imports it."""
        basics = {
            name: value
            for name, value in self._environ.items()
            if name in _BASICS or name in _PYTHON or name.startswith(_BASIC_PREFIXES)
        }
        return {**basics, **(self._worker_environ(worker) if worker else {})}

    def _worker_environ(self, worker: Worker) -> dict[str, str]:
        allowed = (*worker.env, *worker.optional_env)
        return {name: self._environ[name] for name in allowed if name in self._environ}


class _Host:
    """A host process, and the pool's end of its socket."""

    _numbers = itertools.count(1)

    def __init__(self, digest: str, entrypoint: str | None, environ: Mapping[str, str]) -> None:
        """Raises ChildFailed where no process can be made."""
        self.digest = digest
        self.python = entrypoint is not None
        self.alive = True
        self.started = 0
        """How many children it was asked for."""
        self.ageing = False
        """Whether the next host is on its way."""
        self._children: dict[int, Child] = {}
        self._retired = False
        self._ready = threading.Event()
        self._broken: str | None = None
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
        self._say({"type": "serve", "entrypoint": entrypoint})
        threading.Thread(target=self._listen, name="branchline-host", daemon=True).start()

    def wait_ready(self) -> None:
        """Wait until it has imported its worker. Raises ChildFailed where that fails."""
        if not self._ready.wait(_IMPORT_TIMEOUT):
            self._broken = f"its import took longer than {_IMPORT_TIMEOUT:g} seconds"
            self._process.kill()
            self.close()
        if self._broken is not None:
            raise ChildFailed(f"The worker could not be imported: {self._broken}.")

    def start(self, order: dict[str, Any], line: bytes, group: Group | None) -> Child:
        """Start a child that finds ``line`` on its stdin. Raises ChildFailed."""
        number = next(self._numbers)
        with pipes() as (ours, theirs):
            child = Child(self, number, group, WritePipe(ours[0]), ReadPipe(ours[1]), ReadPipe(ours[2]))
            ours.clear()
            self._children[number] = child
            self.started += 1
            if line:
                child.send(line)
            message = json.dumps({**order, "child": number}).encode()
            try:
                socket.send_fds(self._control, [message], theirs)
            except OSError as error:
                self._children.pop(number, None)
                child.close()
                raise ChildFailed(f"The worker's host process is out of reach: {error.strerror}.") from error
        try:
            child._wait_started()
        except ChildFailed:
            child.close()
            raise
        return child

    def kill(self, number: int, signal_number: int) -> None:
        """Signal a child's process group; SIGKILL reaches all that it has started."""
        self._say({"type": "kill", "child": number, "signal": int(signal_number)})

    def retire(self) -> None:
        """Start no more; end with the last child."""
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

    def _say(self, message: dict[str, Any]) -> None:
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
            self._hear(json.loads(data))
        self._gone()

    def _hear(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "ready":
                self._ready.set()
            case "broken":
                self._broken = message["message"]
                self._ready.set()
            case "started":
                self._children[message["child"]]._note_started(message["pid"])
            case "refused":
                self._children.pop(message["child"])._note_refused(message["message"])
            case "ended":
                self._children.pop(message["child"])._note_ended(message["code"])
                if self._retired and not self._children:
                    self.close()

    def _gone(self) -> None:
        """It has ended; its children were killed by it, or by the kernel with it.

        What they had started in their groups was not, where it had no time to do so.
        """
        self.alive = False
        self._control.close()
        if not self._ready.is_set():
            self._broken = self._broken or "its host process has ended; the pool's log says more"
            self._ready.set()
        self.wait()
        for child in self._children.values():
            child._kill_group()
            child._note_ended(_KILLED)
        self._children.clear()


def _socketpair() -> tuple[socket.socket, socket.socket]:
    """Two ends that keep message boundaries."""
    try:
        return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    except OSError:  # not on macOS
        return socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
