"""What brings the records of the module logging into a run's log."""

from __future__ import annotations

import logging
from bisect import bisect_right

from . import logs

_FROM = (logging.INFO, logging.WARNING, logging.ERROR)
"""Where each level but the first begins."""


class LogHandler(logging.Handler):
    """Writes records as lines of the run's log, a traceback below its line."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter())  # or logging.basicConfig gives it one that names the level

    def emit(self, record: logging.LogRecord) -> None:
        """Write one, with the name of its logger."""
        try:
            level = logs.LEVELS[bisect_right(_FROM, record.levelno)]
            logs.write(self.format(record), level, {"logger": record.name})
        except Exception:
            self.handleError(record)
