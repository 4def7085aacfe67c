"""What commands print without the package rich: JSON for programs, and sentences."""

from __future__ import annotations

import codecs
import io
import sys
from types import MappingProxyType
from typing import Any

import click
import orjson

from runtime.logs import CONTROL, printable

as_json = click.option("--json", "json", is_flag=True, help="Print JSON, for programs.")


_ESCAPES = {number: f"\\u{number:04x}" for number in CONTROL if number != ord("\n")}


_IN_ASCII = MappingProxyType({"✓": "ok", "✗": "!!", "→": "->", "…": "...", "–": "-", "’": "'"})
_REPLACE = "branchline"
"""The name under which Python knows what to do about characters that an output has not."""


def write_any_character() -> None:
    """Have stdout replace the characters that its encoding has not, where a command would fail of one."""
    codecs.register_error(_REPLACE, _replacement)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_REPLACE)


def _replacement(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    escaped = (_IN_ASCII.get(one) or one.encode("ascii", "backslashreplace").decode() for one in text)
    return "".join(escaped), error.end


def print_json(value: Any) -> None:
    """Print one JSON document. JSON itself escapes some control characters only."""
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode().translate(_ESCAPES))


def counted(number: int, of: str) -> str:
    """So many of something, in words."""
    return f"{number} {of}{'' if number == 1 else 's'}"


def say(text: str) -> None:
    """Print a sentence."""
    click.echo(printable(text, prose=True))
