"""Starts the processes of stacks by zygotes (see :mod:`tests.support.zygote`), one for each kind."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence

from runtime.settings import CHECKOUT
from runtime.system import processes
from tests.support import zygote

_KINDS = frozenset({"web", "pool", "reaper"})
_AT_START = ("GEVENT", "LANG", "LC_", "LD_", "MALLOC", "PYTHON", "TZ")
"""Beginnings of variables that are read where a program starts or is imported, and so by the zygote."""


class Zygotes:
    """The zygotes of this process, for the ``with`` block; each is started when it is first needed."""

    def __init__(self) -> None:
        self._zygotes: dict[str, _Zygote] = {}
        self._turn = threading.Lock()

    def __enter__(self) -> Zygotes:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._zygotes.values():
            each.close()

    def start(self, arguments: Sequence[str], environ: Mapping[str, str], output: int) -> Forked | None:
        """``python -m runtime ARGUMENTS`` with exactly this environment, in a session of its own.

        ``output``: the descriptor to which it prints. None for what a zygote cannot become.
        """
        kind = arguments[0]
        if not processes.LINUX or kind not in _KINDS or _at_start(environ) != _at_start(os.environ):
            return None
        with self._turn:
            if kind not in self._zygotes:
                self._zygotes[kind] = _Zygote(kind)
            return self._zygotes[kind].fork(arguments, environ, output)


class Forked:
    """A process that a zygote has forked off; the part of :class:`subprocess.Popen` that tests use."""

    def __init__(self, pid: int, ended: int) -> None:
        """``ended``: where the zygote writes the exit code."""
        self.pid = pid
        self.returncode: int | None = None
        self._ended = open(ended, "rb", buffering=0)  # noqa: SIM115 - for as long as the process lives

    def poll(self) -> int | None:
        """The exit code if it has ended, negative where a signal has killed it."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once it has ended. ``timeout`` in seconds; raises TimeoutExpired."""
        code = self._look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Signal it, if it has not ended."""
        if self.poll() is None:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:  # it has ended since
                pass

    def terminate(self) -> None:
        """Send it SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send it SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _look(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._ended], [], [], timeout)[0]:
            code = self._ended.read()
            assert code, "the zygote has ended, which knows how its process did"
            self.returncode = int(code)
            self._ended.close()
        return self.returncode


class _Zygote:
    def __init__(self, kind: str) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        patched = ("gevent.monkey", "--module") if kind in zygote.PATCHED else ()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *patched, zygote.__name__, kind, str(theirs.fileno())],
                cwd=CHECKOUT,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def fork(self, arguments: Sequence[str], environ: Mapping[str, str], output: int) -> Forked:
        umask = os.umask(0)
        os.umask(umask)
        asked = json.dumps({"arguments": arguments, "environ": dict(environ), "umask": umask}).encode()
        assert len(asked) <= zygote.MOST
        reader, writer = os.pipe()
        try:
            socket.send_fds(self._control, [asked], [output, writer])
        finally:
            os.close(writer)
        pid = self._control.recv(64)
        assert pid, "the zygote has ended, and has printed why"
        return Forked(int(pid), reader)

    def close(self) -> None:
        self._control.close()
        self._process.wait(30)


def _at_start(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name.startswith(_AT_START)}
