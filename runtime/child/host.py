"""The host: a small process beside the pool that starts children and cleans up after them.

There is one for each worker. That of a Python worker imports it once, and each run is a
fork of what is in memory already; the others execute a command for each run. While a host
is idle it forks one process ahead, the spare, which becomes the next child without waiting
for a fork. Where the import has begun threads, a fork would not be safe; there the spare is an
interpreter that has imported the worker as well (:mod:`runtime.child.ahead`).

It is run as ``python -m runtime.child.host DESCRIPTOR``, with one end of a Unix socket that
keeps message boundaries. Each message is a JSON object.

============================  =====================================================
to the host                   ``{"type": "serve", "entrypoint": path or null, "sandbox": plan or null,
                              "python": path or null}``, first of all; ``python`` is the interpreter
                              of the worker's own environment
..                            ``{"type": "start", "child", "command", "folder", "environ_bytes",
                              "memory_bytes", "open_files", "group"}`` with stdin, stdout,
                              stderr and, if ``group`` is true, ``cgroup.procs`` of the control group
                              to enter as descriptors; ``command`` null means a fork of the worker. The
                              run's environment is the first line of stdin, of so many bytes
..                            ``{"type": "kill", "child", "signal"}``
..                            ``{"type": "ping"}``, to see whether it lives
from the host                 ``{"type": "network"}`` with the socket that listens in its own network
..                            ``{"type": "imported"}``, then ``{"type": "ready", "threads", "choices"}``, or
                              ``{"type": "broken", "message", "lost"}``
..                            ``{"type": "started", "child", "pid"}`` or
                              ``{"type": "refused", "child", "message"}``
..                            ``{"type": "ended", "child", "code", "lost", "left", "exceeded"}``
..                            ``{"type": "pong"}``
============================  =====================================================

``lost`` is set where the worker is not to blame: in ``broken`` to true, in ``ended`` to the
reason. A forked process has a socket to its host. It tells the host through it what kept it
from executing the run, and closes it before anything of the author's is executed.

Before it imports anything of a worker's author the host enters the worker's sandbox
(:mod:`runtime.sandbox.host_sandbox`). Where the worker has an environment of its own, the host
is then executed once more, by the interpreter of that, which is its author's as well.

Each child enters a sandbox inside that of the host, with a folder of its own. A folder that a
child leaves empty the host keeps for a further one; ``left`` is one with something in it, which
the pool removes. Once a second the host looks how much its children have: one that has more
files or processes than it may is killed, and ``exceeded`` says of what.

Nothing that a child leaves behind survives it. Every child is a subreaper, so what
descends from it stays below it while it lives. The host is one too, so what is left
when a child has ended becomes the host's own child; the host did not start it, and
kills it. When the socket is closed, because the pool process has ended for whatever
reason, the host kills everything that is left and ends. Outside Linux there are no
subreapers, and a program that daemonises itself is not found.
"""

from __future__ import annotations

import errno
import faulthandler
import gc
import json
import os
import select
import signal
import socket
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NoReturn

from runtime.child import forked
from runtime.child.imported import Imported, ImportFailed
from runtime.sandbox.host_sandbox import HostSandbox, RunSandbox
from runtime.sandbox.plan import Plan
from runtime.sdk import exits
from runtime.sdk.wire import line_buffer_stdout
from runtime.system import processes

_IDLE_MS = 3
"""How long the host must be idle before it forks a spare, so that the fork delays no run."""
_POLL_MS = None if processes.LINUX else 1000
"""How often a host checks whether its pool lives, where the kernel does not signal its end."""
_WATCH_MS = 1000
"""How often a host looks how much its children have written, and how many processes they have."""
_EXIT_TIMEOUT = 3.0
"""Seconds that handlers of atexit may take at the end of the host; then each of them has one more."""
_CLEANUP_TIMEOUT = 5.0
"""Seconds that the host waits for killed processes to end before it ends itself."""


class Host:
    """Starts children as the pool asks, and reports their ends."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._pool = os.getppid()
        self._pid = os.getpid()
        self._imported: Imported | None = None
        """Its worker, if that is one of Python."""
        self._ahead: str | None = None
        """The entrypoint of a worker that cannot be forked."""
        self._children: dict[int, _Forked] = {}
        """By pid."""
        self._spare: int | None = None
        """The pid of a process that waits for a start request."""
        self._spare_died = False
        """Whether one ended before it had a run, so that the next one is made for a run."""
        self._sandbox: HostSandbox | None = None
        self._watch_at = 0.0
        """When its children are looked at again, by the monotonic clock."""
        self._helpers: frozenset[int] = frozenset()
        """Processes that the worker's import has started."""
        self._wake, self._woken = os.pipe()
        os.set_blocking(self._woken, False)

    def serve(self, again: str | None = None) -> None:
        """Work until the pool closes the socket or has ended; then kill what is left.

        ``again``: the first request, where the interpreter is the worker's and the sandbox is entered.
        """
        self._adopt()
        first = again.encode() if again is not None else (self._receive() or (b"",))[0]
        if not first:
            return
        request = forked.decode(first)
        if not self._enter_sandbox(request["sandbox"], entered=again is not None):
            return
        if again is None and request["python"] is not None:
            return self._become_host_of(request["python"], first)
        if not self._prepare(request["entrypoint"]):
            return
        self._settle()
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        wants_spare = True
        while self._pool == os.getppid():
            events = poll.poll(_IDLE_MS if wants_spare else self._patience())
            for descriptor, _ in events:
                if descriptor == self._wake:
                    os.read(self._wake, 4096)
                    self._reap()
                elif not self._handle_message():
                    return self._end()
            if wants_spare and not events:
                self._fork_spare()
            wants_spare = bool(events) and self._spare is None
            self._watch()
        self._end()

    # ── the beginning ───────────────────────────────────────────────────────

    def _adopt(self) -> None:
        """Become the parent of orphans, and have ends and signals wake the loop."""
        processes.adopt_orphans()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._handle_sigterm)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        processes.die_with_parent(signal.SIGTERM)

    def _handle_sigterm(self, *_: object) -> None:
        """End only if the pool has ended.

        A service manager that stops everything at once sends SIGTERM to the host as well,
        but the pool gives its runs time to finish.
        """
        if self._pool != os.getppid() and not self._children:
            os._exit(0)

    def _become_host_of(self, python: str, request: bytes) -> None:
        """Go on with the interpreter of the worker's own environment."""
        self._control.set_inheritable(True)
        arguments = ["runtime.child.host", str(self._control.fileno()), request.decode()]
        try:
            os.chdir("/")
            os.execv(python, [python, forked.BOOTSTRAP, *arguments])
        except OSError as error:
            message = f"its interpreter {os.path.basename(python)} could not be executed: {error.strerror}"
            self._report(type="broken", message=message, lost=forked.is_of_machine(error))

    def _enter_sandbox(self, plan: dict[str, Any] | None, entered: bool) -> bool:
        if plan is None:
            return True
        try:
            self._sandbox = HostSandbox(Plan.decode(plan))
            if entered:
                self._sandbox.resume()
                return True
            self._hand_out(self._sandbox.leave_network())
            self._sandbox.enter()
        except OSError as error:
            self._report(type="broken", message=f"its sandbox could not be made: {error}", lost=True)
            return False
        return True

    def _hand_out(self, listener: socket.socket | None) -> None:
        """Give the pool the socket by which it lets something out of the host's network."""
        if listener is not None:
            with listener:
                socket.send_fds(
                    self._control, [json.dumps({"type": "network"}).encode()], [listener.fileno()]
                )
            processes.die_with_parent(signal.SIGTERM)  # a new user namespace may have cleared it

    def _prepare(self, entrypoint: str | None) -> bool:
        if entrypoint is None:
            self._report(type="ready", threads="", choices=False)
            return True
        try:
            self._imported = Imported(entrypoint)
            self._report(type="imported")
            self._imported.start_up()
        except ImportFailed as error:
            self._report(type="broken", message=str(error), lost=error.lost)
            return False
        self._helpers = frozenset(processes.children_of(self._pid))
        threads = self._imported.threads()
        if threads:
            # A fork copies only one thread; locks that the others hold would stay locked.
            self._ahead = entrypoint
            warnings.filterwarnings("ignore", ".*fork.*", DeprecationWarning)  # each executes a program
        self._report(type="ready", threads=threads, choices=bool(self._imported.loaded.choices))
        return True

    def _settle(self) -> None:
        """Set up what all children inherit."""
        line_buffer_stdout()
        faulthandler.register(forked.SHOW_STACK, file=2)  # stderr of each child
        # SIGTERM is blocked from now on, so another signal wakes the host when the pool ends;
        # the socket is closed then, too.
        signal.pthread_sigmask(signal.SIG_BLOCK, forked.BLOCKED)
        processes.die_with_parent(signal.SIGCHLD)
        # All children share what is in memory now; the garbage collector must not touch it.
        gc.collect()
        gc.freeze()

    # ── requests of the pool ────────────────────────────────────────────────

    def _handle_message(self) -> bool:
        """Handle one message of the pool; False at the end."""
        message = self._receive()
        if message is None:
            return False
        data, descriptors = message
        try:
            request = forked.decode(data)
            match request["type"]:
                case "start":
                    self._start(request, data, descriptors)
                case "kill":
                    self._kill(request["child"], request["signal"])
                case "ping":
                    self._report(type="pong")
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return True

    def _start(self, request: dict[str, Any], data: bytes, descriptors: list[int]) -> None:
        child = request["child"]
        self._spare_died = False
        try:
            if len(descriptors) != (4 if request["group"] else 3):  # the kernel had no room for the others
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            pid = self._use_spare(data, descriptors) or self._fork_now(request, data, descriptors)
        except OSError as error:
            message = f"no process could be made: {error.strerror}"
            return self._report(type="refused", child=child, message=message)
        self._children[pid].number = child
        self._report(type="started", child=child, pid=pid)

    def _fork_now(self, request: dict[str, Any], data: bytes, descriptors: list[int]) -> int:
        """A child for a run for which there is no spare. Raises OSError."""
        if self._ahead is None:
            return self._fork(request, descriptors)
        self._spare = self._fork(None, [])
        pid = self._use_spare(data, descriptors)
        if pid is None:
            raise OSError(errno.ECHILD, "the interpreter of the run has ended")
        return pid

    def _use_spare(self, data: bytes, descriptors: list[int]) -> int | None:
        """Make the spare the child; its pid, or None where there is no living one."""
        pid, self._spare = self._spare, None
        if pid is None:
            return None
        try:
            if self._sandbox is not None:
                self._sandbox.hand_over(pid, descriptors)
            socket.send_fds(self._children[pid].socket, [data], descriptors)
        except OSError:
            return None  # it was killed; _reap removes it
        return pid

    def _fork_spare(self) -> None:
        """Fork the process that becomes the next child."""
        if self._spare_died:
            return
        try:
            self._spare = self._fork(None, [])
        except OSError:
            return  # the next start forks, and is refused if that fails too

    def _fork(self, request: dict[str, Any] | None, descriptors: list[int]) -> int:
        """Fork a child for a start request, or a spare that waits for one. Raises OSError."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, self._control.type)
        with theirs, ExitStack() as undo:
            undo.callback(ours.close)
            sandbox = None
            if self._sandbox is not None:
                sandbox = self._sandbox.prepare()
                undo.callback(self._sandbox.take_back, sandbox.folder)
                undo.callback(sandbox.close)
            pid = os.fork()
            if pid == 0:
                os.close(ours.fileno())
                self._become_child(sandbox, request, descriptors, theirs)
            undo.pop_all()
        if sandbox is not None:
            sandbox.close()
        self._children[pid] = _Forked(ours, sandbox.folder if sandbox is not None else None)
        return pid

    def _become_child(
        self,
        sandbox: RunSandbox | None,
        request: dict[str, Any] | None,
        descriptors: list[int],
        host: socket.socket,
    ) -> NoReturn:
        """The rest of a forked process's life. Without a request, it waits for one from its host."""
        try:
            siblings = [child.socket.fileno() for child in self._children.values()]
            forked.leave_host(self._pid, (self._wake, self._woken, self._control.fileno(), *siblings))
            if self._sandbox is not None and sandbox is not None:
                self._enter_run_sandbox(self._sandbox, sandbox, descriptors, host)
            if self._ahead is not None:
                forked.become_interpreter(self._ahead, host)
            worker = None
            if self._imported is not None:
                self._imported.handlers.take_over()
                worker = self._imported.loaded
            if request is None:
                request, descriptors = forked.await_request(host)
            forked.execute(worker, request, descriptors, host)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(70)

    def _enter_run_sandbox(
        self, sandbox: HostSandbox, run: RunSandbox, descriptors: list[int], host: socket.socket
    ) -> None:
        try:
            sandbox.hand_over(os.getpid(), descriptors)
            sandbox.enter_child(run, self._pid)
        except OSError as error:
            forked.give_up(host, f"its sandbox could not be made: {error.strerror}")

    def _kill(self, child: int, number: int) -> None:
        """Signal a child's process group; SIGKILL goes to all that descends from it."""
        pid = next((pid for pid, known in self._children.items() if known.number == child), None)
        if pid is None:
            return
        if number == forked.SHOW_STACK:
            # The others do not expect it, and would end; a SIGTERM that follows would cut a dump short
            # that another thread writes.
            return processes.signal_main_thread(pid, number)
        if number == signal.SIGKILL:
            for descendant in [*processes.descendants(pid)]:
                processes.send_signal(descendant, signal.SIGKILL)
        try:
            os.killpg(pid, number)
        except ProcessLookupError:
            processes.send_signal(pid, number)  # not yet the leader of its group

    # ── ends of processes ───────────────────────────────────────────────────

    def _reap(self) -> None:
        """Report children that have ended, after killing what they left running."""
        ended = [
            (self._children.pop(pid), status, not processes.signal_group(pid, signal.SIGKILL))
            for pid, status in _ended()
            if pid in self._children
        ]
        swept = self._sweep()
        for child, status, alone in ended:
            lost, left = child.reason(), self._take_back(child.folder, alone and not swept)
            if child.number is not None:
                code = os.waitstatus_to_exitcode(status)
                more = {"lost": lost, "left": left, "exceeded": child.exceeded}
                self._report(type="ended", child=child.number, code=code, **more)
        if self._spare not in self._children:
            # An interpreter that ends by itself would end again, and again.
            self._spare_died = self._spare_died or (self._spare is not None and self._ahead is not None)
            self._spare = None

    def _take_back(self, folder: str | None, alone: bool) -> str | None:
        """Keep or remove the folder of an ended child; its path where the pool is to remove it.

        ``alone``: no process is left that may have the folder open.
        """
        if folder is None or self._sandbox is None or (alone and self._sandbox.take_back(folder)):
            return None
        try:
            os.rmdir(folder)
        except OSError:
            return folder
        return None

    def _sweep(self) -> int:
        """Kill what ended children left running, and return how many; the end of each calls this again."""
        known = self._helpers | self._children.keys()
        orphans = [pid for pid in processes.children_of(self._pid) if pid not in known]
        for orphan in orphans:
            for pid in [*processes.descendants(orphan), orphan]:
                processes.send_signal(pid, signal.SIGKILL)
        return len(orphans)

    # ── bounds ──────────────────────────────────────────────────────────────

    def _patience(self) -> int | None:
        """How many milliseconds the host may be idle."""
        return _WATCH_MS if self._sandbox is not None and self._children else _POLL_MS

    def _watch(self) -> None:
        """Kill children that have more than they may of what the kernel does not limit."""
        now = time.monotonic()
        if self._sandbox is None or now < self._watch_at:
            return
        for pid, child in self._children.items():
            if child.number is not None and child.folder is not None and child.exceeded is None:
                child.exceeded = self._sandbox.exceeded(pid, child.folder)
                if child.exceeded is not None:
                    self._kill(child.number, signal.SIGKILL)
        # A child with very many files is not to keep its host from starting others.
        took = time.monotonic() - now
        self._watch_at = now + max(_WATCH_MS / 1000, 20 * took)

    def _end(self) -> None:
        self._control.close()
        deadline = time.monotonic() + _CLEANUP_TIMEOUT
        for pid in list(self._children):
            processes.signal_group(pid, signal.SIGKILL)
        self._children.clear()
        self._run_exit_handlers()
        self._helpers = frozenset()
        self._sweep()
        while time.monotonic() < deadline:
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                return
            self._sweep()
            if select.select([self._wake], [], [], 0.05)[0]:
                os.read(self._wake, 4096)

    @staticmethod
    def _run_exit_handlers() -> None:
        """What was registered for the end of this process, before what it has started is killed."""
        if exits.pending():
            signal.signal(signal.SIGALRM, _time_is_over)
            signal.setitimer(signal.ITIMER_REAL, _EXIT_TIMEOUT, 1.0)
            exits.run()
            signal.setitimer(signal.ITIMER_REAL, 0)

    # ── the socket ──────────────────────────────────────────────────────────

    def _receive(self) -> tuple[bytes, list[int]] | None:
        try:
            data, descriptors = forked.receive(self._control)
        except ConnectionError:
            return None
        return (data, descriptors) if data else None

    def _report(self, **message: Any) -> None:
        try:
            self._control.send(json.dumps(message).encode())
        except OSError:
            pass  # the pool has ended; the closed socket ends the host


def _time_is_over(*_: object) -> NoReturn:
    raise TimeoutError(f"the handlers of atexit take longer than {_EXIT_TIMEOUT:g} seconds")


class _Forked:
    """A process that the host has forked, and its socket to it."""

    def __init__(self, socket: socket.socket, folder: str | None) -> None:
        self.socket = socket
        self.folder = folder
        """Of its run; None without a sandbox."""
        self.exceeded: str | None = None
        """Of what it had too much, so that it was killed."""
        self.number: int | None = None
        """The child's number in the pool; None for a spare."""

    def reason(self) -> str | None:
        """It has ended: what it says has kept it from executing the run, if anything."""
        with self.socket:
            self.socket.setblocking(False)
            try:
                return self.socket.recv(forked.MAX_MESSAGE).decode() or None
            except OSError:
                return None


def _ended() -> Iterator[tuple[int, int]]:
    """Pids and statuses of the processes below us that have ended."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield pid, status


def main(descriptor: str, again: str | None = None) -> None:
    """Serve the socket with that descriptor; for ``again`` see :meth:`Host.serve`."""
    with socket.socket(fileno=int(descriptor)) as control:
        control.setblocking(True)  # a pool under gevent makes non-blocking sockets
        control.set_inheritable(False)
        Host(control).serve(again)


if __name__ == "__main__":
    main(sys.argv[1])
