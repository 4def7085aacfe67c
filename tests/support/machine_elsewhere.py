"""A machine elsewhere, as a process of this one: `branchline remote`, or the SDK alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from runtime.services import Services
from runtime.settings import CHECKOUT
from runtime.testing.waiting import until


class MachineElsewhere:
    """Executes the worker of one folder for the pool ``remote`` of an installation."""

    def __init__(
        self,
        url: str,
        token: str,
        folder: Path,
        *,
        slots: int = 1,
        of_branchline: bool = False,
        through: Sequence[str] = (),
    ) -> None:
        """``url``: where it reaches the installation. ``through``: a program that becomes it.

        ``of_branchline``: by the command, which uses the sandbox, and not by the SDK alone.
        """
        environ = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        environ |= {"BRANCHLINE_POOL_TOKEN": token}
        how = ["-m", "runtime.sdk.remote", "--drain", "1", str(folder)]
        if of_branchline:
            how = ["-m", "runtime", "remote"]
            environ |= {"WORKERS_PATH": str(folder.parent), "BRANCHLINE_POOL_DRAIN": "1"}
        self._log = folder / "remote.log"
        with open(self._log, "ab") as log:
            self.process = subprocess.Popen(
                [*through, sys.executable, *how, "--server", url, "--slots", str(slots)],
                cwd=CHECKOUT,
                env=environ,
                stderr=log,
            )

    def log(self) -> str:
        """What it has printed."""
        return self._log.read_text()

    def kill(self) -> None:
        """End it, however it is."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait(10)


def forget_offers(services: Services) -> None:
    """Wait until no machine offers to execute a run: a dead one would be given what another test asks for."""
    until(lambda: services.offers.count("remote") == 0, what="the machines' offers are gone")
