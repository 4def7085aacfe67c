"""Mistakes of an author in what the worker says, each told with the line that it is in."""

from __future__ import annotations

import difflib
import os
import traceback
from collections.abc import Iterable
from typing import Any

from .errors import Misspelt

_SDK = os.path.dirname(os.path.abspath(__file__))


def unknown_event(kind: object, known: Iterable[str]) -> Misspelt:
    """There is no event of that type."""
    if kind is None:
        return Misspelt("an event needs a 'type'")
    return Misspelt(f"there is no event of the type {kind!r}{_meant(str(kind), known)}")


def missing_field(kind: str, name: str, given: Iterable[str]) -> Misspelt:
    """An event lacks a field, which may be there under a wrong name."""
    close = difflib.get_close_matches(name, [key for key in given if key != "type"], 1)
    return Misspelt(f"an event of the type {kind!r} needs {name!r}{f', not {close[0]!r}' if close else ''}")


def described(error: Exception) -> str:
    """An exception of the worker as its run shows it; one that is a slip of the pen with its line."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, Misspelt):
        return f"{error}{_position(error, error.place)}"
    if isinstance(error, AttributeError) and type(error.obj).__module__.startswith(f"{__package__}."):
        return f"{text}{_meant(error.name or '', dir(error.obj))}{_position(error, None)}"
    return text


def _meant(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, [one for one in known if not one.startswith("_")], 1)
    return f"; did you mean {close[0]!r}?" if close else ""


def place_of(source: Any) -> tuple[str, int] | None:
    """File and line at which a generator waits, or the one that it yields from."""
    while (inner := getattr(source, "gi_yieldfrom", None)) is not None and hasattr(inner, "gi_frame"):
        source = inner
    frame = getattr(source, "gi_frame", None) or getattr(source, "ag_frame", None)
    return (frame.f_code.co_filename, frame.f_lineno) if frame is not None else None


def _position(error: Exception, place: tuple[str, int | None] | None) -> str:
    """The innermost line of the author's: of the ``yield``, or of what called the SDK."""
    frames = reversed(traceback.extract_tb(error.__traceback__))
    calls = ((frame.filename, frame.lineno) for frame in frames if not _is_ours(frame.filename))
    file, line = place or next(calls, (None, None))
    return f" ({os.path.basename(file)}, line {line})" if file else ""


def _is_ours(file: str) -> bool:
    return os.path.abspath(file).startswith(f"{_SDK}{os.sep}")
