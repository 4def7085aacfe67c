"""A guardian: a tiny parent of one process, which replaces it when it ends or hangs.

The process that it starts tells by its heartbeat that it runs, and the kernel tells when it
has ended.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
import time
from abc import ABC, abstractmethod

from runtime.guardian.heartbeat import Heartbeat
from runtime.system import processes

log = logging.getLogger(__name__)

_MIN_LIFETIME = 5.0
"""Seconds; after a process that lived shorter, the next one is started with a pause."""
_MAX_PAUSE = 30.0


class Guardian(ABC):
    """Keeps one process running until it is stopped."""

    hurry_signal = signal.SIGKILL
    """What the process gets when the guardian is told to stop for the second time."""

    def __init__(self, name: str, stop_timeout: float, silence: float) -> None:
        """``name``: what the process is called in the log.

        ``stop_timeout``: seconds that it may take to end after SIGTERM. ``silence``: seconds
        without a heartbeat after which it is killed.
        """
        self.name = name
        self._stop_timeout = stop_timeout
        self._silence = silence
        self._process: subprocess.Popen[bytes] | None = None
        self._stop_signals = 0
        self._wake, self._woken = os.pipe()
        for descriptor in (self._wake, self._woken):
            os.set_blocking(descriptor, False)

    @abstractmethod
    def command(self, heartbeat: int) -> list[str]:
        """What the next process executes; ``heartbeat`` is the descriptor that it has for beats."""

    def start(self, heartbeat: int) -> subprocess.Popen[bytes]:
        """Start the next process; ``heartbeat`` as in :meth:`command`. Raises OSError, SubprocessError."""
        return subprocess.Popen(self.command(heartbeat), pass_fds=[heartbeat], preexec_fn=stop_with_parent)

    @abstractmethod
    def clean_up(self) -> None:
        """Called after each end that nobody asked for."""

    def run(self) -> int:
        """Returns the exit code to end with."""
        processes.hide()
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        signal.signal(signal.SIGALRM, self._kill_process)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        processes.adopt_orphans()
        pause = 0.0
        while not self._stopping():
            began = time.monotonic()
            if self._run_process():
                return 0
            pause = min(max(1.0, pause * 2), _MAX_PAUSE) if time.monotonic() - began < _MIN_LIFETIME else 0.0
            self._pause(pause)
        return 0

    def _run_process(self) -> bool:
        """Start a process, wait for its end and clean up; whether it ended as it was told to."""
        try:
            code = self._start_and_wait()
        except (OSError, subprocess.SubprocessError) as error:  # no descriptors or processes are left
            self.log(f"no process could be made: {error}")
            return False
        if self._stopping() and code == 0:
            return True
        self.log(f"it ended with {processes.describe_exit(code)}")
        self.clean_up()
        return False

    def _start_and_wait(self) -> int:
        heartbeat = Heartbeat(self._silence)
        try:
            process = self._process = self.start(heartbeat.descriptor)
            heartbeat.close_childs_end()
            if self._stopping():
                self._signal(signal.SIGTERM)
            while process.returncode is None:
                self._wait(heartbeat.until_next_look)
                self._reap(process)
                if process.returncode is None and heartbeat.silent:
                    self.log("it does not answer; it is killed")
                    self._signal(signal.SIGKILL)
            return process.returncode
        finally:
            heartbeat.close()

    def _wait(self, seconds: float) -> None:
        """Wait until a signal arrives, such as that of a child's end."""
        if select.select([self._wake], [], [], seconds)[0]:
            os.read(self._wake, 4096)

    def _reap(self, process: subprocess.Popen[bytes]) -> None:
        """Reap the process, and the orphans that the guardian has adopted."""
        while process.returncode is None:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            if pid == process.pid:
                process.returncode = os.waitstatus_to_exitcode(status)

    def _stopping(self) -> bool:
        return self._stop_signals > 0

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopping() and time.monotonic() < until:
            time.sleep(0.1)

    def _stop(self, *_: object) -> None:
        """The first signal stops the process, the next one cuts that short."""
        self._stop_signals += 1
        if self._stop_signals == 1:
            self._signal(signal.SIGTERM)
            signal.setitimer(signal.ITIMER_REAL, self._stop_timeout)
        else:
            self._signal(self.hurry_signal)

    def _kill_process(self, *_: object) -> None:
        self.log("it does not end; it is killed")
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.returncode is None:
            os.kill(self._process.pid, number)

    def log(self, text: str) -> None:
        """Log what has happened to the process."""
        log.warning("%s: %s", self.name, text)


def stop_with_parent() -> None:
    """For a new process: stop when the guardian is killed, rather than go on unsupervised."""
    processes.die_with_parent(signal.SIGTERM)
