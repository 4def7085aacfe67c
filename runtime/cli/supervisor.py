"""The processes of ``branchline up``: honcho, but one that ends does not end the others.

Each is started again, sooner or later depending on how long it lived. Nothing
stays behind: every process leads a group of its own, whose rest is killed when it
ends, and the kernel ends it when this process is gone (:func:`runtime.processes.become`).
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
from honcho.printer import Message, Printer
from honcho.process import Process

from runtime import processes

_LONG_LIFE = 10.0
"""Seconds after which a process that ends counts as one that had worked."""
_LONGEST_PAUSE = 30.0
_TICK = 0.1


class Service(Process):  # type: ignore[misc]
    """One process, its output passed on line by line. Runs in a thread of its own.

    The thread must last as long as the process: to the kernel, the thread that
    started a process is its parent.
    """

    def run(self, events: queue.Queue[Message] | None = None, ignore_signals: bool = False) -> None:
        """Start it, pass on what it says, and report its end."""
        self._events = events
        self._child = subprocess.Popen(
            [sys.executable, "-IS", processes.__file__, str(os.getpid()), "/bin/sh", "-c", self.cmd],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self.env,
            cwd=self.cwd,
            start_new_session=True,
        )
        self._send_message({"pid": self._child.pid}, type="start")
        reader = threading.Thread(target=self._pass_on, daemon=True)
        reader.start()
        code = self._child.wait()
        _signal_group(self._child.pid, signal.SIGKILL)
        reader.join(timeout=1)
        self._send_message({"returncode": code}, type="stop")

    def _pass_on(self) -> None:
        for line in self._child.stdout or ():
            self._send_message(line)


class Supervisor(Manager):  # type: ignore[misc]
    """Keeps processes running until told to stop."""

    def __init__(self, environ: Mapping[str, str], folder: Path, grace: float) -> None:
        """``grace``: seconds that a process may take to end before it is killed."""
        super().__init__(Printer(sys.stdout))
        self.events: queue.Queue[Message] = queue.Queue()
        self._process_ctor = Service
        self._environ = dict(environ)
        self._folder = str(folder)
        self._grace = grace
        self._order: list[str] = []
        self._alive: dict[str, int | None] = {}
        """Name → process id; None while it is being started."""
        self._began: dict[str, float] = {}
        self._pauses: dict[str, float] = {}
        self._due: dict[str, float] = {}
        self._signals: list[int] = []

    def add(self, name: str, command: str) -> None:
        """Know a process. At the end it is stopped after all that were added later."""
        self.add_process(name, command, env=self._environ, cwd=self._folder)
        self._order.append(name)

    def start(self, name: str) -> None:
        """Start a process that is known."""
        self._due.pop(name, None)
        self._began[name] = time.monotonic()
        self._alive[name] = None
        service = self._processes[name]["obj"]
        threading.Thread(target=service.run, args=(self.events,), name=name, daemon=True).start()

    def running(self, name: str) -> bool:
        """Whether that process has been started and has not ended."""
        self._take_events()
        return name in self._alive

    def call_soon(self, action: Callable[[], None]) -> None:
        """From another thread: have :meth:`loop` call ``action`` between two lines of output."""
        self.events.put(Message("call", action, datetime.datetime.now(), "", None))

    def loop(self) -> None:
        """Keep everything running until SIGINT, SIGTERM or SIGHUP.

        A second signal, while :meth:`stop` waits, kills what is left.
        """
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._told_to_stop)
        while not self._signals:
            self._take_events(_TICK)
            for name in [name for name, due in self._due.items() if due <= time.monotonic()]:
                self.start(name)

    def stop(self) -> None:
        """End everything: first what was added last, together; what was added first goes last."""
        self._terminating = True
        self._due.clear()
        first, rest = self._order[:1], self._order[1:]
        self._end(rest)
        self._end(first)

    def _end(self, names: Iterable[str]) -> None:
        told: set[str] = set()
        deadline = time.monotonic() + self._grace
        while left := [name for name in names if name in self._alive]:
            late = time.monotonic() > deadline or len(self._signals) > 1
            for name in left:
                pid = self._alive[name]
                if pid is None:
                    continue
                if late:
                    _signal_group(pid, signal.SIGKILL)
                elif name not in told:
                    _signal(pid, signal.SIGTERM)  # not its group: a leader tells its own
                    told.add(name)
            self._take_events(_TICK)

    def _told_to_stop(self, number: int, _: Any) -> None:
        self._signals.append(number)

    def _take_events(self, wait: float = 0.0) -> None:
        """Deal with what the threads have sent; wait for the first for so many seconds."""
        try:
            event = self.events.get(timeout=wait) if wait else self.events.get_nowait()
            while True:
                self._take(event)
                event = self.events.get_nowait()
        except queue.Empty:
            return

    def _take(self, event: Message) -> None:
        if event.type == "line":
            self._printer.write(event)
        elif event.type == "start":
            self._alive[event.name] = event.data["pid"]
        elif event.type == "stop":
            self._ended(event.name, event.data["returncode"])
        elif event.type == "call":
            event.data()

    def _ended(self, name: str, code: int) -> None:
        del self._alive[name]
        if self._terminating:
            return
        lived = time.monotonic() - self._began[name]
        before = self._pauses.get(name, 0.0)
        pause = 1.0 if lived > _LONG_LIFE else min(max(1.0, before * 2), _LONGEST_PAUSE)
        self._pauses[name] = pause
        self._due[name] = time.monotonic() + pause
        self._system_print(
            f"{name} ended with {processes.describe_exit(code)}; it starts again in {pause:g} s\n"
        )


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass  # it is gone


def _signal_group(leader: int, number: int) -> None:
    try:
        os.killpg(leader, number)
    except ProcessLookupError:
        pass  # all of it is gone
