"""Logging: config/logging.toml, applied once per process."""

from __future__ import annotations

import logging.config
import tomllib
from typing import Any

from runtime.settings import CHECKOUT, Settings

_FILE = CHECKOUT / "config" / "logging.toml"

_CONTROL = (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)
_ESCAPES = {number: f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" for number in _CONTROL}


class OneLine(logging.Formatter):
    """One line per record; a traceback below it is indented.

    Control characters are escaped, so text from outside can neither imitate a record nor
    control the terminal.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """The line, with control characters escaped."""
        return super().formatMessage(record).translate(_ESCAPES)

    def formatException(self, ei: Any) -> str:  # noqa: N802
        """The traceback, indented."""
        lines = super().formatException(ei).split("\n")
        return "\n".join(f"  {line.translate(_ESCAPES)}" for line in lines)


def configure(settings: Settings) -> None:
    """Configure logging from config/logging.toml."""
    logging.config.dictConfig(tomllib.loads(_FILE.read_text()))
