"""The guardian of a pool process, which notices its death, and that it hangs.

When the pool process dies, the guardian releases its leases at once, so that its runs need not
wait until those end; it kills what the children left behind; and it starts a new pool process
under a new incarnation. It imports little, as :mod:`runtime.guardian` does.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time

from runtime.guardian import Guardian, stop_with_parent


class PoolGuardian(Guardian):
    """Keeps one pool process running until it is stopped."""

    hurry_signal = signal.SIGUSR2

    def __init__(self, name: str, slots: int, stop_timeout: float, silence: float) -> None:
        """``name``: that of the pool. For the others see :class:`~runtime.guardian.Guardian`."""
        super().__init__(f"pool {name}", stop_timeout, silence)
        self._pool = name
        self._slots = slots
        self._incarnation = ""

    def command(self, heartbeat: int) -> list[str]:
        """A pool process under a new incarnation."""
        self._incarnation = f"{self._pool}@{socket.gethostname()}-{secrets.token_hex(4)}"
        arguments = [self._pool, str(self._slots), self._incarnation, str(heartbeat)]
        return [sys.executable, "-m", "runtime.pool.process", *arguments]

    def clean_up(self) -> None:
        """Release the runs of the pool process, and kill what it has left."""
        self.log("its runs are released")
        self._release_runs()
        _kill_orphans()

    def _release_runs(self) -> None:
        arguments = ["--once", "--released", self._incarnation]
        try:
            subprocess.run(
                [sys.executable, "-m", "runtime.maintenance", *arguments],
                timeout=30,
                check=False,
                preexec_fn=stop_with_parent,
            )
        except subprocess.TimeoutExpired:
            self.log("releasing its runs took too long; the reaper does it when the leases end")
        except (OSError, subprocess.SubprocessError) as error:
            self.log(f"its runs wait until the leases end, for no process could be made: {error}")


def main(name: str, slots: int, stop_timeout: float, silence: float) -> int:
    """Run a pool until SIGTERM. Returns an exit code."""
    return PoolGuardian(name, slots, stop_timeout, silence).run()


def _kill_orphans() -> None:
    """Kill what the dead pool process left behind, except its isolated processes.

    Those drain when it dies. If they were killed, their runs would end through no fault of their own.
    """
    if sys.platform != "linux":
        return
    me = os.getpid()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        with open(f"/proc/{me}/task/{me}/children") as file:
            children = [int(pid) for pid in file.read().split() if not _is_isolated(pid)]
        if not children:
            return
        for pid in children:
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except (ProcessLookupError, ChildProcessError):
                continue


def _is_isolated(pid: str) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return b"runtime.pool.isolated_process" in file.read().split(b"\0")
    except OSError:
        return False  # it has ended meanwhile
