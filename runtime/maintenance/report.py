"""Report: when each duty of this reaper last succeeded, for the metrics of the web processes."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from secrets import token_hex

from runtime.errors import Unavailable
from runtime.store import Database, duties, pools
from runtime.system import clock


class Report:
    """The row of one reaper in the table of duties, from its first report to the end of the ``with``."""

    def __init__(self, database: Database, ages: Callable[[], Mapping[str, float]], interval: float) -> None:
        """``ages`` returns the seconds since each duty's last success; ``interval`` in seconds."""
        self._database = database
        self._ages = ages
        self._interval = interval
        self._process = f"reaper@{socket.gethostname()}-{token_hex(4)}"
        self._sent_at = float("-inf")

    def __enter__(self) -> Report:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(Unavailable):
            self._database.write(duties.withdraw, self._process)

    def send(self) -> None:
        """Report, if it is time."""
        if time.monotonic() - self._sent_at >= self._interval:
            self._database.write(duties.report, self._process, duties.REAPER, "", self._ages())
            clock.note_skew(*self._database.read(pools.clock_skew, time.time))
            self._sent_at = time.monotonic()
