"""The processes of ``branchline up``: honcho, except that one process's end does not end the others.

A process that ends is restarted, with a delay that grows if it ends soon after each start.
None is left running: every process leads its own process group, which is killed when it
ends, and the kernel ends the process when this one has ended (:func:`runtime.system.processes.become`).
"""

from __future__ import annotations

import datetime
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from honcho.manager import Manager
from honcho.printer import Message
from honcho.process import Process

from runtime.cli.report import Report
from runtime.system import processes

_STABLE_AFTER = 10.0
"""Seconds after which a process that ends is restarted without a growing delay."""
_MAX_DELAY = 30.0
_TICK = 0.1
_NOT_STARTED = 71
"""The exit code of a process that could not be made; ``EX_OSERR`` of sysexits.h."""


class Service(Process):  # type: ignore[misc]
    """One process, whose output is forwarded line by line. Runs in its own thread.

    The thread must live as long as the process, because the kernel regards the thread
    that started a process as its parent.
    """

    def run(self, events: queue.Queue[Message] | None = None, ignore_signals: bool = False) -> None:
        """Start it, forward its output, and report its end."""
        self._events = events
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-IS", processes.__file__, str(os.getpid()), "/bin/sh", "-c", self.cmd],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=self.env,
                cwd=self.cwd,
                start_new_session=True,
            )
        except (OSError, subprocess.SubprocessError) as error:  # the machine has no room for it now
            self._send_message(f"it could not be started: {error}\n")
            self._send_message({"returncode": _NOT_STARTED}, type="stop")
            return
        self._send_message({"pid": self._child.pid}, type="start")
        reader = threading.Thread(target=self._forward_output, daemon=True)
        try:
            reader.start()
        except RuntimeError as error:  # it would hang as soon as nobody reads what it prints
            self._send_message(f"its output cannot be read: {error}\n")
            assert self._child.stdout is not None
            self._child.stdout.close()
            _signal_group(self._child.pid, signal.SIGKILL)
        code = self._child.wait()
        _signal_group(self._child.pid, signal.SIGKILL)
        if reader.ident is not None:
            reader.join(timeout=1)
        self._send_message({"returncode": code}, type="stop")

    def _forward_output(self) -> None:
        assert self._child.stdout is not None
        with self._child.stdout as lines:
            for line in lines:
                text = line.decode("utf-8", "replace").rstrip("\r\n")
                self._send_message(text + "\n")


class Supervisor(Manager):  # type: ignore[misc]
    """Keeps processes running until it is stopped."""

    def __init__(self, environ: Mapping[str, str], folder: Path, grace: float, report: Report) -> None:
        """``grace``: seconds that a process may take to end before it is killed.

        ``report`` prints what the processes print.
        """
        super().__init__(report)
        self.events: queue.Queue[Message] = queue.Queue()
        self._process_ctor = Service
        self._environ = dict(environ)
        self._folder = str(folder)
        self._grace = grace
        self._order: list[str] = []
        self._pids: dict[str, int | None] = {}
        """Name → process id; None while it is being started."""
        self._started_at: dict[str, float] = {}
        self._delays: dict[str, float] = {}
        self._restarts: dict[str, float] = {}
        self._signals: list[int] = []

    def add(self, name: str, command: str) -> None:
        """Register a process. It is stopped after all that were added later."""
        self.add_process(name, command, env=self._environ, cwd=self._folder)
        self._order.append(name)

    def start(self, name: str) -> None:
        """Start a registered process."""
        self._restarts.pop(name, None)
        self._started_at[name] = time.monotonic()
        self._pids[name] = None
        service = self._processes[name]["obj"]
        try:
            threading.Thread(target=service.run, args=(self.events,), name=name, daemon=True).start()
        except RuntimeError as error:  # the machine has no room for it now
            self._system_print(f"{name} could not be started: {error}\n")
            self._handle_end(name, _NOT_STARTED)

    def running(self, name: str) -> bool:
        """Whether that process has been started and has not ended."""
        self._handle_events()
        return name in self._pids

    def call_soon(self, action: Callable[[], None]) -> None:
        """Have :meth:`loop` call ``action`` between two lines of output. For other threads."""
        self.events.put(Message("call", action, datetime.datetime.now(), "", None))

    def loop(self) -> None:
        """Keep everything running until SIGINT, SIGTERM or SIGHUP.

        A second signal, while :meth:`stop` waits, kills what is left.
        """
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._handle_signal)
        while not self._signals:
            self._handle_events(_TICK)
            for name in [name for name, due in self._restarts.items() if due <= time.monotonic()]:
                self.start(name)

    def stop(self) -> None:
        """End everything: first the others together, then what was added first and they depend on."""
        self._terminating = True
        self._restarts.clear()
        first, rest = self._order[:1], self._order[1:]
        self._end(rest)
        self._end(first)

    def _end(self, names: Iterable[str]) -> None:
        signalled: set[str] = set()
        deadline = time.monotonic() + self._grace
        while left := [name for name in names if name in self._pids]:
            late = time.monotonic() > deadline or len(self._signals) > 1
            for name in left:
                pid = self._pids[name]
                if pid is None:
                    continue
                if late:
                    _signal_group(pid, signal.SIGKILL)
                elif name not in signalled:
                    _signal(pid, signal.SIGTERM)  # not its group: a process ends its own children
                    signalled.add(name)
            self._handle_events(_TICK)

    def _handle_signal(self, number: int, _: Any) -> None:
        self._signals.append(number)

    def _handle_events(self, wait: float = 0.0) -> None:
        """Handle the threads' events; waits up to ``wait`` seconds for the first."""
        try:
            event = self.events.get(timeout=wait) if wait else self.events.get_nowait()
            while True:
                self._handle(event)
                event = self.events.get_nowait()
        except queue.Empty:
            return

    def _handle(self, event: Message) -> None:
        if event.type == "line":
            self._printer.write(event)
        elif event.type == "start":
            self._pids[event.name] = event.data["pid"]
        elif event.type == "stop":
            self._handle_end(event.name, event.data["returncode"])
        elif event.type == "call":
            event.data()

    def _handle_end(self, name: str, code: int) -> None:
        del self._pids[name]
        if self._terminating:
            return
        lived = time.monotonic() - self._started_at[name]
        before = self._delays.get(name, 0.0)
        delay = 1.0 if lived > _STABLE_AFTER else min(max(1.0, before * 2), _MAX_DELAY)
        self._delays[name] = delay
        self._restarts[name] = time.monotonic() + delay
        self._system_print(f"{name} ended with {processes.describe_exit(code)}; restarting in {delay:g} s\n")


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass  # it has ended


def _signal_group(leader: int, number: int) -> None:
    try:
        os.killpg(leader, number)
    except ProcessLookupError:
        pass  # all of it has ended
