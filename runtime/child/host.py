"""The host: a small process beside the pool that starts the children and outlives none of them.

There is one for each python worker: it imports the worker once, and a run costs a
fork of what is in memory already. One more starts the commands of all other workers.
It is run as ``python -m runtime.child.host DESCRIPTOR``, with one end of a Unix
socket that keeps message boundaries. Each message is a JSON object.

============================  =====================================================
to the host                   ``{"type": "serve", "entrypoint": path or null}``, first of all
..                            ``{"type": "start", "child", "command", "folder", "environ",
                              "memory_bytes", "open_files"}`` with stdin, stdout and stderr
                              as descriptors; ``command`` null means a fork of the worker
..                            ``{"type": "kill", "child", "signal"}``
from the host                 ``{"type": "ready", "threads"}`` or ``{"type": "broken", "message"}``
..                            ``{"type": "started", "child", "pid"}`` or
                              ``{"type": "refused", "child", "message"}``
..                            ``{"type": "ended", "child", "code"}``
============================  =====================================================

Nothing that a child leaves behind survives it. Every child is a subreaper, so what
descends from it stays below it while it lives; the host is one too, so what is left
when a child has ended becomes the host's own child, and is known by not being one
that the host has started. When the socket ends, because the pool process has ended
however that came, the host kills all that is left and ends. Outside Linux there are
no subreapers, and what daemonises itself gets away.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import resource
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from typing import Any, NoReturn

from runtime import sdk

_LINUX = sys.platform == "linux"
_CHECKOUT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_MAX_MESSAGE = 256 * 1024
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LAST_SWEEPS = 5.0
"""Seconds that the host gives the killed to vanish before it ends itself."""


class Host:
    """Starts children as the pool asks, and reports their ends."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._pool = os.getppid()
        self._pid = os.getpid()
        self._worker: sdk.Function | None = None
        self._fresh: list[str] | None = None
        """How to start a child where the worker cannot be forked."""
        self._children: dict[int, int] = {}
        """Pid → the pool's number of the child."""
        self._helpers: frozenset[int] = frozenset()
        """What importing the worker has started."""
        self._wake, self._woken = os.pipe()
        os.set_blocking(self._woken, False)

    def serve(self) -> None:
        """Work until the pool closes the socket or has ended; then kill what is left."""
        self._adopt()
        first = self._receive()
        if first is None or not self._prepare(first[0]["entrypoint"]):
            return
        # What is in memory now is shared by all children; the collector must not touch it.
        gc.collect()
        gc.freeze()
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while self._pool == os.getppid():
            for descriptor, _ in poll.poll(None if _LINUX else 1000):
                if descriptor == self._wake:
                    os.read(self._wake, 4096)
                    self._reap()
                elif not self._obey():
                    return self._end()
        self._end()

    # ── the beginning ───────────────────────────────────────────────────────

    def _adopt(self) -> None:
        """Become the parent of whatever loses its own, and hear of ends."""
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._terminated)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    def _terminated(self, *_: object) -> None:
        """SIGTERM only makes us look whether the pool has ended.

        A service manager that stops everything at once sends it to us as well, and
        the pool's runs have time to finish.
        """
        if self._pool != os.getppid() and not self._children:
            os._exit(0)

    def _prepare(self, entrypoint: str | None) -> bool:
        if entrypoint is None:
            self._report(type="ready", threads=0)
            return True
        sys.path.insert(0, os.path.dirname(entrypoint))
        try:
            self._worker = sdk.load(entrypoint)
        except BaseException as error:
            traceback.print_exc()
            where = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{os.path.basename(where.filename)}, line {where.lineno}"
            message = f"{type(error).__name__}: {str(error)[:4000]} ({place})"
            self._report(type="broken", message=message)
            return False
        if _is_async(self._worker):
            import asyncio  # noqa: F401  every run needs it
        self._helpers = frozenset(_children_of(os.getpid()))
        threads = _threads() - 1
        if threads:
            # A fork copies one thread only, and the locks that the others hold for ever.
            self._fresh = [sys.executable, "-m", "runtime.sdk", entrypoint]
        self._report(type="ready", threads=threads)
        return True

    # ── what the pool asks ──────────────────────────────────────────────────

    def _obey(self) -> bool:
        """One message of the pool; False at the end."""
        message = self._receive()
        if message is None:
            return False
        order, descriptors = message
        try:
            if order["type"] == "start":
                self._start(order, descriptors)
            else:
                self._kill(order["child"], order["signal"])
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return True

    def _start(self, order: dict[str, Any], descriptors: list[int]) -> None:
        command = order["command"] or self._fresh
        # A SIGTERM that comes before the child is itself must wait, not meet our handler.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        try:
            pid = os.fork()
        except OSError as error:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
            message = f"no process could be made: {error.strerror}"
            return self._report(type="refused", child=order["child"], message=message)
        if pid == 0:
            try:
                self._become_child(order, descriptors)
                if command:
                    _execute(command)
                _run(self._worker)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(70)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        self._children[pid] = order["child"]
        self._report(type="started", child=order["child"], pid=pid)

    def _become_child(self, order: dict[str, Any], descriptors: list[int]) -> None:
        """All that a child is given, and nothing of the host's."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != self._pid:
            os._exit(1)  # the host died before the kernel could have told us
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        os.setsid()
        for target, descriptor in enumerate(descriptors):
            os.dup2(descriptor, target)
        for descriptor in (*descriptors, self._wake, self._woken):
            os.close(descriptor)
        self._control.close()
        os.chdir(_CHECKOUT if self._fresh else order["folder"])
        os.environ.update(order["environ"])
        _limit(resource.RLIMIT_NOFILE, order["open_files"])
        # Data, not address space: programs reserve far more of that than they use.
        _limit(resource.RLIMIT_DATA, order["memory_bytes"])

    def _kill(self, child: int, number: int) -> None:
        """Signal a child's process group; SIGKILL goes to all that descends from it."""
        pid = next((pid for pid, known in self._children.items() if known == child), None)
        if pid is None:
            return
        if number == signal.SIGKILL:
            for descendant in [*_descendants(pid)]:
                _signal(descendant, signal.SIGKILL)
        try:
            os.killpg(pid, number)
        except ProcessLookupError:
            _signal(pid, number)  # not yet the leader of its group

    # ── what the kernel tells ───────────────────────────────────────────────

    def _reap(self) -> None:
        """Report children that have ended, after their remains were killed."""
        ended = []
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid in self._children:
                ended.append((self._children.pop(pid), os.waitstatus_to_exitcode(status)))
                _signal_group(pid, signal.SIGKILL)
        self._sweep()
        for child, code in ended:
            self._report(type="ended", child=child, code=code)

    def _sweep(self) -> int:
        """Kill what ended children have left; the end of each calls us again. How many."""
        known = self._helpers | self._children.keys()
        orphans = [pid for pid in _children_of(os.getpid()) if pid not in known]
        for orphan in orphans:
            for pid in [*_descendants(orphan), orphan]:
                _signal(pid, signal.SIGKILL)
        return len(orphans)

    def _end(self) -> None:
        self._control.close()
        deadline = time.monotonic() + _LAST_SWEEPS
        for pid in list(self._children):
            _signal_group(pid, signal.SIGKILL)
        self._children.clear()
        self._helpers = frozenset()
        self._sweep()
        while time.monotonic() < deadline:
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                return
            self._sweep()
            select.select([self._wake], [], [], 0.05)

    # ── the socket ──────────────────────────────────────────────────────────

    def _receive(self) -> tuple[dict[str, Any], list[int]] | None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._control, _MAX_MESSAGE, 3)
        except ConnectionError:
            return None
        return (json.loads(data), descriptors) if data else None

    def _report(self, **message: Any) -> None:
        try:
            self._control.send(json.dumps(message).encode())
        except OSError:
            pass  # the pool has ended; so shall we, at the next look at the socket


def _run(worker: sdk.Function | None) -> NoReturn:
    """The rest of a forked child's life."""
    assert worker is not None
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()  # all children would draw the same numbers
    code = 70
    try:
        code = sdk.execute(worker)
    except SystemExit as end:
        code = _exit_code(end)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                continue
        os._exit(code)


def _exit_code(end: SystemExit) -> int:
    if end.code is None or isinstance(end.code, int):
        return (end.code or 0) & 0xFF
    print(end.code, file=sys.stderr)
    return 1


def _execute(command: list[str]) -> NoReturn:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it; programs do not expect that
    try:
        os.execv(command[0], command)
    except OSError as error:
        os.write(2, f"{command[0]} could not be executed: {error.strerror}\n".encode())
    os._exit(126)


def _is_async(function: sdk.Function) -> bool:
    code = getattr(function, "__code__", None)
    return code is not None and bool(code.co_flags & 0x280)  # CO_COROUTINE | CO_ASYNC_GENERATOR


def _threads() -> int:
    return len(os.listdir("/proc/self/task")) if _LINUX else threading.active_count()


def _limit(kind: int, value: int | None) -> None:
    if value is not None:
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def _children_of(pid: int) -> list[int]:
    """The children of all threads of a process."""
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", "rb") as file:
                found += map(int, file.read().split())
    except OSError:  # it has ended meanwhile, or this is no Linux
        pass
    return found


def _descendants(pid: int) -> Iterator[int]:
    for child in _children_of(pid):
        yield from _descendants(child)
        yield child


def _prctl(option: int, value: int) -> None:
    if _LIBC is not None:
        _LIBC.prctl(option, value, 0, 0, 0)


_LIBC = ctypes.CDLL(None) if _LINUX else None


def main() -> None:
    """Serve the socket whose descriptor is the argument."""
    with socket.socket(fileno=int(sys.argv[1])) as control:
        Host(control).serve()


if __name__ == "__main__":
    main()
