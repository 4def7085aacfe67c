"""Heartbeats: a process tells its parent that it runs, by a byte in a pipe.

The end of a process is told by the kernel. That one is stopped (SIGSTOP), or hangs in code that
lets nothing else run, shows only in its silence. The standard library only, since guardians
import this.
"""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections.abc import Callable

INTERVAL = 0.5
"""Seconds between two beats."""
EXIT_CODE = 70
"""Of a process that cannot beat any more."""
TICK = 1.0
"""Seconds between two looks of the parent for beats."""
_START_TICKS = 60
"""Looks without a beat that a process is given until its first one."""


class Heartbeat:
    """The parent's end: notices the silence of one child.

    Looks are counted, not seconds: those pass for both where the whole machine, or a
    container, is suspended, and the child did not fall silent by itself.
    """

    def __init__(self, silence: float) -> None:
        """``silence``: seconds without a beat after which the child counts as hanging. Raises OSError."""
        self._reader, self.descriptor = os.pipe()
        """``descriptor`` is what the child is to get. It is closed here by :meth:`close_childs_end`."""
        os.set_blocking(self._reader, False)
        os.set_blocking(self.descriptor, False)
        self._limit = max(2, round(silence / TICK))
        self._left = _START_TICKS
        self._next_look = time.monotonic() + TICK

    def close_childs_end(self) -> None:
        """The child has got its end; without ours, it is closed when the child ends."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def close(self) -> None:
        """Close both ends."""
        self.close_childs_end()
        os.close(self._reader)

    @property
    def until_next_look(self) -> float:
        """Seconds until :attr:`silent` is to be asked again."""
        return max(0.0, self._next_look - time.monotonic())

    @property
    def silent(self) -> bool:
        """Whether the child hangs. To be asked at least each ``TICK``; more often does no harm."""
        if self._has_beaten():
            self._left = self._limit
        elif time.monotonic() >= self._next_look:
            self._left -= 1
        else:
            return False
        self._next_look = time.monotonic() + TICK
        return self._left <= 0

    def _has_beaten(self) -> bool:
        try:
            return bool(os.read(self._reader, 4096))
        except BlockingIOError:
            return False


def beat(descriptor: int) -> None:
    """Tell the parent that this process runs. Never waits; a parent that has ended is no error."""
    try:
        os.write(descriptor, b".")
    except OSError:  # it is full, because the parent does not run, or closed
        pass


def keep_beating(descriptor: int, sleep: Callable[[float], object] = time.sleep) -> None:
    """Beat for as long as the process lives. Under gevent in a greenlet, so that it stops with the hub.

    Where it cannot go on the process ends, which would be killed for its silence in any case.
    """
    try:
        while True:
            beat(descriptor)
            sleep(INTERVAL)
    except Exception:
        traceback.print_exc()
        os._exit(EXIT_CODE)


def start_beating(descriptor: int) -> None:
    """Beat in a thread of its own, or in a greenlet where gevent has patched threads."""
    threading.Thread(target=keep_beating, args=(descriptor,), name="heartbeat", daemon=True).start()
