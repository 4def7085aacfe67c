"""The guardian of a reaper: it starts another one when the reaper ends or hangs."""

from __future__ import annotations

import sys

from runtime.guardian import Guardian


class ReaperGuardian(Guardian):
    """Keeps one reaper running until it is stopped."""

    def command(self, heartbeat: int) -> list[str]:
        """A reaper."""
        return [sys.executable, "-m", "runtime.maintenance", "--heartbeat", str(heartbeat)]

    def clean_up(self) -> None:
        """A reaper leaves nothing behind: each of its changes is a transaction."""


def main(stop_timeout: float, silence: float) -> int:
    """Run a reaper until SIGTERM. Returns an exit code."""
    return ReaperGuardian("reaper", stop_timeout, silence).run()
