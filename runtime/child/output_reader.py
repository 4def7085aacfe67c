"""Reading what a process writes while nobody waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable

_LAST_OUTPUT = 1.0
"""Seconds that its last output may take once it has ended."""
_MOST_OUTPUT = 64 * 1024
"""Bytes of what it writes that are kept, the last ones."""


class OutputReader:
    """Reads what a process writes, so that it never waits for room."""

    def __init__(self, read: Callable[[], bytes]) -> None:
        """``read``: the next chunk; empty at the end."""
        self._read = read
        self._text = bytearray()
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()

    def end(self) -> str:
        """The end of it, once the process has ended."""
        self._thread.join(_LAST_OUTPUT)
        return self._text.decode("utf-8", "replace")

    def _collect(self) -> None:
        while chunk := self._read():
            self._text = (self._text + chunk)[-_MOST_OUTPUT:]
