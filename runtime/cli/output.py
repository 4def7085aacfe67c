"""What commands print without the package rich: JSON for programs, and sentences."""

from __future__ import annotations

from typing import Any

import click
import orjson

from runtime.logs import CONTROL, printable

as_json = click.option("--json", "json", is_flag=True, help="Print JSON, for programs.")


_ESCAPES = {number: f"\\u{number:04x}" for number in CONTROL if number != ord("\n")}


def print_json(value: Any) -> None:
    """Print one JSON document. JSON itself escapes some control characters only."""
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode().translate(_ESCAPES))


def say(text: str) -> None:
    """Print a sentence."""
    click.echo(printable(text, prose=True))
