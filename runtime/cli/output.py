"""What commands print for programs: JSON."""

from __future__ import annotations

from typing import Any

import click
import orjson

as_json = click.option("--json", "json", is_flag=True, help="Print JSON, for programs.")


def print_json(value: Any) -> None:
    """Print one JSON document."""
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2))
