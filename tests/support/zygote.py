"""A process that has imported what a kind of Branchline's processes does, and becomes one at each start.

Android and Chromium call it a zygote. To import what a web, pool or reaper process needs takes a second
of the processor, which the stacks of the tests would otherwise pay for each of a thousand processes. A
process that is forked off here executes the same modules as ``python -m runtime …`` does, with its own
session, environment, folder and files, and finds them imported. Of a guardian, the process that it
guards is forked off as well, and of a pool's the one that releases its runs; all others (hosts of
workers, isolated processes) are started as always.

A web or pool process has gevent replace parts of the standard library, its arbiter or guardian has not.
So one zygote has everything imported as the process itself would have; the zygote, and what is to be an
arbiter or guardian, use the original parts until the process that is to be patched begins.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, NoReturn

import gevent
from gevent import monkey

import runtime.cli.processes
from runtime.guardian import Guardian, stop_with_parent
from runtime.pool.guardian import PoolGuardian
from runtime.settings import CHECKOUT
from runtime.system import processes
from tests.support.forked import call, end

MOST = 1 << 17
"""Bytes of a request: arguments and environment."""

_IMPORTS: Mapping[str, Sequence[str]] = {
    "web": ("web.app", "web.http.gunicorn", "gunicorn.app.wsgiapp"),
    "pool": ("runtime.pool.process", "runtime.maintenance.reaper"),
    "reaper": ("runtime.maintenance.reaper", "runtime.maintenance.guardian"),
}
PATCHED = frozenset({"web", "pool"})
"""The kinds that gevent has to patch before anything of ours is imported."""

_STAYS = frozenset({"_thread", "threading", "_threading_local", "logging", "queue"})
"""Modules that stay patched: Python itself knows the main thread by them, and an arbiter has no other."""
_OF_LOOP = "anon_inode:"
"""The descriptors of gevent's event loop are links to these; it closes and opens them by itself."""


class Patches:
    """What gevent has replaced in the standard library, and can be put back for a while."""

    def __init__(self) -> None:
        self._attributes = [
            (sys.modules[name], attribute, original, getattr(sys.modules[name], attribute, None))
            for name, originals in monkey.saved.items()
            if name in sys.modules and name not in _STAYS
            for attribute, original in originals.items()
        ]

    def put_back(self) -> None:
        """From now on this process uses the original parts."""
        for module, attribute, original, _ in self._attributes:
            setattr(module, attribute, original)

    def apply(self) -> None:
        """From now on this process uses gevent's."""
        for module, attribute, _, replacement in self._attributes:
            _set(module, attribute, replacement)


def _set(module: ModuleType, attribute: str, value: Any) -> None:
    if value is None:  # gevent has removed it
        delattr(module, attribute)
    else:
        setattr(module, attribute, value)


class Zygote:
    """Forks off a process for each request on a socket, and says when one has ended."""

    def __init__(self, kind: str, control: socket.socket) -> None:
        """``kind``: ``web``, ``pool`` or ``reaper``."""
        for module in _IMPORTS[kind]:
            importlib.import_module(module)
        if kind in PATCHED:
            _read_workers()
        gc.collect()
        gc.freeze()  # lest a collection in a forked process copies all of it
        assert processes.threads() == 1, "an import has started a thread, which no forked process would have"
        self._patches = Patches()
        self._patches.put_back()
        self._control = control
        self._ends: dict[int, int] = {}
        """By process id: the descriptor on which its exit code is awaited."""

    def serve(self) -> None:
        """Until the other end of the socket is closed. What is left then is told to stop."""
        wake, woken = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(woken, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(woken)
        try:
            while True:
                ready = select.select([self._control, wake], [], [])[0]
                if wake in ready:
                    os.read(wake, 4096)
                    self._reap()
                if self._control in ready and not self._answer():
                    break
        finally:
            for pid in self._ends:
                os.kill(pid, signal.SIGTERM)

    def _answer(self) -> bool:
        """Fork off the process of one request, and reply its id; False at the end of the requests."""
        data, descriptors, _, _ = socket.recv_fds(self._control, MOST, 2)
        if not data:
            return False
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        output, ended = descriptors
        pid = _fork(lambda: self._execute(json.loads(data), output))
        os.close(output)
        self._ends[pid] = ended
        self._control.send(str(pid).encode())
        return True

    def _reap(self) -> None:
        while self._ends:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            ended = self._ends.pop(pid)
            try:
                os.write(ended, str(os.waitstatus_to_exitcode(status)).encode())
            except BrokenPipeError:
                pass  # nobody waits for it any more
            os.close(ended)

    def _execute(self, asked: Mapping[str, Any], output: int) -> None:
        """``python -m runtime ARGUMENTS``, in a new process."""
        processes.die_with_parent(signal.SIGTERM)  # nobody else could end it in time
        os.setsid()
        os.umask(asked["umask"])
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ.clear()
        os.environ.update(asked["environ"])
        _close_on_exec()
        Guardian.start = lambda guardian, heartbeat: self._start_guarded(guardian, heartbeat)
        runtime.cli.processes._become = self._become
        PoolGuardian._release_runs = lambda guardian: self._release_runs(guardian._incarnation)
        monkey.patch_all = self._patch
        _run("runtime", asked["arguments"])

    def _start_guarded(self, guardian: Guardian, heartbeat: int) -> Forked:
        """In place of ``Guardian.start``."""
        _, _, module, *arguments = guardian.command(heartbeat)

        def execute() -> None:
            stop_with_parent()
            os.set_inheritable(heartbeat, True)
            _close_on_exec()
            _run(module, arguments)

        return Forked(_fork(execute))

    def _release_runs(self, incarnation: str) -> None:
        """In place of the method by which a pool's guardian has its runs released."""

        def execute() -> None:
            stop_with_parent()
            signal.alarm(30)
            _close_on_exec()
            self._patch()  # for what is imported here was imported by a process of gevent
            _run("runtime.maintenance", ["--once", "--released", incarnation])

        os.waitpid(_fork(execute), 0)

    def _become(self, module: str, *arguments: str) -> NoReturn:
        """In place of the function by which a command becomes another Python program."""
        _run(module, arguments)
        sys.exit()

    def _patch(self, *_: object, **__: object) -> None:
        """In place of ``gevent.monkey.patch_all``."""
        self._patches.apply()
        gevent.reinit()


def _read_workers() -> None:
    """Check the schemas of the workers that most stacks have: no forked process checks them again."""
    registry = importlib.import_module("runtime.registry.registry")  # not before the modules of the kind
    registry.discover([CHECKOUT / "workers", CHECKOUT / "tests" / "workers"])


class Forked:
    """What a guardian needs to know of a process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None


def _fork(execute: Callable[[], None]) -> int:
    """A new process, which handles signals as one that was just started, calls that and ends; its id."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            for number in signal.valid_signals():
                if callable(signal.getsignal(number)):
                    signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if pid == 0:
        end(call(execute))
    return pid


def _close_on_exec() -> None:
    """Close what a new program would not have open either."""
    for name in os.listdir("/proc/self/fd"):
        try:
            kept = os.get_inheritable(int(name)) or os.readlink(f"/proc/self/fd/{name}").startswith(_OF_LOOP)
            if not kept:
                os.close(int(name))
        except OSError:  # that of the listing itself
            continue


def _run(module: str, arguments: Sequence[str]) -> None:
    """Execute a module as ``python -m`` does."""
    if not hasattr(sys.modules.get(module), "__path__"):
        sys.modules.pop(module, None)  # else it would be there twice, of which Python warns
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def main(kind: str, descriptor: str) -> None:
    """Serve the socket with that descriptor."""
    with socket.socket(fileno=int(descriptor)) as control:
        control.set_inheritable(False)
        Zygote(kind, control).serve()


if __name__ == "__main__":
    main(*sys.argv[1:])
