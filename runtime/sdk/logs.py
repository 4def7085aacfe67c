"""Lines of a run's log: the time, the level, what happened, and its fields."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from typing import Any

LEVELS = ("debug", "info", "warning", "error")


def write(message: str, level: str, fields: Mapping[str, Any]) -> None:
    """See :meth:`runtime.sdk.run.Run.log`."""
    if level not in LEVELS:
        raise ValueError(f"the level of a line is one of {', '.join(LEVELS)}, not {level!r}")
    first, *rest = str(message).splitlines() or [""]
    named = "".join(f" {name}={_text(value)}" for name, value in fields.items())
    indented = "".join(f"\n  {line}" for line in rest)
    sys.stderr.write(f"{_now()} {level.upper():7} {first}{named}{indented}\n")


def _now() -> str:
    """As RFC 3339 in UTC, as the pool's own log has it."""
    now = time.time()
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now * 1000) % 1000:03}Z"


def _text(value: Any) -> str:
    """A text as it is where its end can be seen; anything else as JSON without spaces between its parts."""
    if isinstance(value, str):
        return _quoted(value)
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    except (TypeError, ValueError, RecursionError):  # a line of the log is no reason to fail
        return _quoted(repr(value))


def _quoted(text: str) -> str:
    if text and text.isprintable() and not set(text) & set(' "='):
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())
