"""Logging: config/logging.toml, applied once per process."""

from __future__ import annotations

import logging.config
import tomllib
from typing import Any

from runtime.settings import CHECKOUT, Settings

_FILE = CHECKOUT / "config" / "logging.toml"

_BIDIRECTIONAL = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x2070))
"""What changes the direction of a text, so that it reads as something else than it is."""
CONTROL = (
    *range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *_BIDIRECTIONAL, 0xFEFF, *range(0xFFF9, 0xFFFC),
    *range(0xD800, 0xE000),
)  # fmt: skip
"""C0, DEL and C1, separators of lines, marks that are not seen, and surrogates, which cannot be written."""
_ESCAPES = {number: f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" for number in CONTROL}
_ESCAPES_IN_PROSE = {number: escape for number, escape in _ESCAPES.items() if chr(number) not in "\n\t"}


def printable(text: str, prose: bool = False) -> str:
    """``text`` with its control characters shown as ``\\x1b``.

    Whoever wrote it can then neither imitate another line nor control the terminal on
    which it is printed. ``prose``: it may have lines and tabs, which stay.
    """
    return text.translate(_ESCAPES_IN_PROSE if prose else _ESCAPES)


class OneLine(logging.Formatter):
    """One line per record; a traceback below it is indented.

    Control characters are escaped, so text from outside can neither imitate a record nor
    control the terminal.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """The line, with control characters escaped."""
        return printable(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802
        """The traceback, indented."""
        lines = super().formatException(ei).split("\n")
        return "\n".join(f"  {printable(line)}" for line in lines)

    def formatStack(self, stack_info: str) -> str:  # noqa: N802
        """The stack, indented."""
        return "\n".join(f"  {printable(line)}" for line in stack_info.split("\n"))


def configure(settings: Settings) -> None:
    """Configure logging from config/logging.toml."""
    logging.config.dictConfig(tomllib.loads(_FILE.read_text()))
