"""What a user types: lines, answers to the questions of a worker, and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping

import click
import orjson

from runtime.cli.terminal import console
from runtime.logs import printable
from runtime.model import Json


def json_object(_: click.Context, __: click.Parameter, value: str | None) -> dict[str, Json]:
    """The value of an option that is a JSON object."""
    try:
        config = orjson.loads(value or "{}")
    except orjson.JSONDecodeError as error:
        raise click.BadParameter(f"is not JSON ({error})") from error
    if not isinstance(config, dict):
        raise click.BadParameter('is not a JSON object, such as {"delay_ms": 300}')
    return config


def hint(question: Mapping[str, Json]) -> str:
    """What may be answered."""
    if schema := question.get("schema"):
        fields = schema.get("properties") or {}
        names = [f"{name}: {field.get('type', 'any')}" for name, field in fields.items()]
        return f" (JSON{': {' if names else ''}{', '.join(names)}{'}' if names else ''})"
    options = question.get("options") or []
    return f" ({', '.join(map(str, options))})" if options else ""


def given(question: Mapping[str, Json], text: str) -> Json:
    """The answer: JSON where the question asks for that, if it is."""
    if not question.get("schema"):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def read_line(prompt: str) -> str | None:
    """A line from the user; None at Ctrl-D."""
    try:
        return input(printable(prompt, prose=True))
    except EOFError:
        console.print()
        return None
