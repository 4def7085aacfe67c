"""How a worker's function is found in its file."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from types import ModuleType

    from .run import Run

Function = Callable[["Run"], Any]
_F = TypeVar("_F", bound=Callable[..., Any])

_MARK = "__branchline_worker__"
SERVED = "__branchline_served__"
"""Where a module has what it called ``serve`` for: a list of workers' functions."""
_SECOND_IS_OVER = 2.0
"""Seconds after which nothing is written in the same second any more, by file systems that round it."""


def worker(function: _F) -> _F:
    """Mark a function as the worker of its file, whatever its name."""
    setattr(function, _MARK, True)
    return function


def load(path: str) -> Function:
    """The worker function of the file at ``path``: what it serves, the marked one, or that named ``run``.

    Raises ImportError where there is none, and whatever the file itself raises.
    """
    from importlib.machinery import SourceFileLoader
    from importlib.util import module_from_spec, spec_from_file_location

    from . import alias

    alias.install()
    name = os.path.splitext(os.path.basename(path))[0]
    spec = spec_from_file_location(name, path, loader=SourceFileLoader(name, path))
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    sys.dont_write_bytecode |= _was_just_written(os.path.dirname(path))
    spec.loader.exec_module(module)
    return _function(module)


def _was_just_written(folder: str) -> bool:
    """Whether code of a worker may change once more within the second in which it was written.

    Python tells by size and second whether compiled code is that of its source, so code that was
    kept now could stand for the next version.
    """
    import time

    try:
        with os.scandir(folder or ".") as entries:
            written = [entry.stat().st_mtime for entry in entries if entry.name.endswith(".py")]
    except OSError:  # a sandbox may keep a worker from listing its folder, and from writing there
        return False
    return time.time() - max(written, default=0) < _SECOND_IS_OVER


def _function(module: ModuleType) -> Function:
    marked = [
        thing
        for thing in vars(module).values()
        if getattr(thing, _MARK, False) and getattr(thing, "__module__", None) == module.__name__
    ]
    chosen = [*vars(module).get(SERVED, ()), *marked]
    if len(chosen) > 1:
        raise ImportError(f"{module.__file__} serves or marks several functions as its worker; leave one")
    function = chosen[0] if chosen else getattr(module, "run", None)
    if not callable(function):
        raise ImportError(
            f"{module.__file__} has no function named run, none marked with @worker, and serves no agent"
        )
    return function  # type: ignore[no-any-return]
