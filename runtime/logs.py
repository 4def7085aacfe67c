"""Logging: config/logging.toml, applied once per process."""

from __future__ import annotations

import logging.config
import tomllib
from typing import Any

from runtime.settings import CHECKOUT, Settings

_FILE = CHECKOUT / "config" / "logging.toml"

_CONTROL = (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)
_SHOWN = {number: f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" for number in _CONTROL}


class OneLine(logging.Formatter):
    """A record is one line, and what a traceback adds is indented.

    So no text that somebody sends can pass for a record, or command the terminal.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """The line, with control characters made visible."""
        return super().formatMessage(record).translate(_SHOWN)

    def formatException(self, ei: Any) -> str:  # noqa: N802
        """The traceback, indented."""
        lines = super().formatException(ei).split("\n")
        return "\n".join(f"  {line.translate(_SHOWN)}" for line in lines)


def configure(settings: Settings) -> None:
    """Log as config/logging.toml says."""
    logging.config.dictConfig(tomllib.loads(_FILE.read_text()))
