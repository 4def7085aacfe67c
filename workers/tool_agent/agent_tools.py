"""The tools that every run has: each a function, and what the model is told of it."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from runtime.sdk import Run
from runtime.sdk.tool_turns import Function

_LARGEST_POWER = 10_000
_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: lambda base, power: base ** _checked(base, power),
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}


def calculate(run: Run, expression: str) -> str:
    """Calculate with numbers."""
    if len(expression) > 1000:
        raise ValueError("the expression is too long")
    return str(_value(ast.parse(expression.strip(), mode="eval").body))


def clock(run: Run, timezone: str = "UTC") -> str:
    """Tell the time."""
    zone = UTC if timezone == "UTC" else ZoneInfo(timezone)
    return datetime.now(zone).isoformat(timespec="seconds")


def remember(run: Run, note: str) -> str:
    """Keep a note for later turns of this branch, if the user agrees."""
    if run.confirm(f"Keep this note?\n\n{note}", options=["yes", "no"]) != "yes":
        return "The user does not want that."
    run.state = {**run.state, "notes": [*run.state.get("notes", ()), note]}
    return "It is kept."


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return value
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _BINARY[type(op)](_value(left), _value(right))
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
            return _UNARY[type(op)](_value(operand))
    raise ValueError("only numbers, + - * / // % ** and parentheses are understood")


def _checked(base: Any, power: Any) -> Any:
    if abs(power) > _LARGEST_POWER or abs(base) > 1e100:
        raise ValueError("the result is too large")
    return power


def _text(name: str, description: str, *, required: bool = True) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: {"type": "string", "description": description}},
        "required": [name] if required else [],
        "additionalProperties": False,
    }


def of(run: Run) -> list[Function]:
    """Those of a run."""
    return [
        Function(
            "calculate",
            "Calculate with numbers. Use it instead of doing sums yourself.",
            _text("expression", "Such as (3 + 4) * 2 ** 8 / 5"),
            partial(calculate, run),
        ),
        Function(
            "clock",
            "The date and time now.",
            _text("timezone", "An IANA name, such as Europe/Paris; UTC without.", required=False),
            partial(clock, run),
        ),
        Function(
            "remember",
            "Keep a note that you will be told in later turns. The user is asked first.",
            _text("note", "What to keep, in one sentence."),
            partial(remember, run),
        ),
    ]
