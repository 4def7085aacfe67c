"""How a worker's function is found in its file."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from types import MethodType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from types import ModuleType

    from .run import Run

Function = Callable[["Run"], Any]
_F = TypeVar("_F", bound=Callable[..., Any])

_MARK = "__branchline_worker__"
_STARTUP = "__branchline_startup__"
_CHOICES = "__branchline_choices__"
SERVED = "__branchline_served__"
"""Where a module has what it called ``serve`` for: a list of workers' functions."""
_SECOND_IS_OVER = 2.0
"""Seconds after which nothing is written in the same second any more, by file systems that round it."""


class _Mark:
    """The decorators ``@worker``, ``@worker.startup`` and ``@worker.choices(field)``."""

    def __call__(self, function: _F) -> _F:
        """Mark a function as the worker of its file, whatever its name."""
        setattr(function, _MARK, True)
        return function

    def startup(self, function: _F) -> _F:
        """Mark a function, without arguments, to be called once in each pool process, before any run.

        For what all runs share and what takes long to get ready, such as a server that has loaded a
        model. It is called in the process that executes the runs as its forks, so that they have what
        it leaves in variables; it may start programs, but no threads.
        """
        setattr(function, _STARTUP, True)
        return function

    def choices(self, field: str) -> Callable[[_F], _F]:
        """Mark a function, without arguments, that returns what users may choose for ``field`` of the config.

        They are suggestions, such as the models that a server has: the config may have another value,
        where its schema allows that. It is called once the pool has started, and again every few
        minutes, in a process of its own, and has 15 seconds. What it raises is no failure of the worker.
        """

        def mark(function: _F) -> _F:
            setattr(function, _CHOICES, field)
            return function

        return mark


worker = _Mark()


class Loaded(NamedTuple):
    """What a worker's file defines."""

    function: Function
    startups: Sequence[Callable[[], object]]
    """What is to be called before any run, in this order."""
    choices: Mapping[str, Callable[[], object]]
    """What says, by field of the config, what may be chosen there."""

    def start_up(self) -> None:
        """Call what is to be called before any run. Raises TypeError where that is async."""
        for startup in self.startups:
            if hasattr(startup(), "__await__"):
                raise TypeError("a function that is marked with @worker.startup must not be async")


def load(path: str) -> Loaded:
    """The worker of the file at ``path``: what it serves, the marked function, or that named ``run``.

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
    startups = {id(thing): thing for thing in vars(module).values() if _mark(thing, _STARTUP) is True}
    choices = {
        field: thing
        for thing in vars(module).values()
        if isinstance(field := _mark(thing, _CHOICES), str) and callable(thing)
    }
    return Loaded(_function(module), list(startups.values()), choices)


def _mark(thing: Any, name: str) -> object:
    """What a decorator has left at a function. Other things may have an answer to any name, or raise."""
    if type(thing) is MethodType:
        thing = thing.__func__
    try:
        own = object.__getattribute__(thing, "__dict__")
    except Exception:
        return None
    return own.get(name) if isinstance(own, Mapping) else None


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
        if _mark(thing, _MARK) is True and getattr(thing, "__module__", None) == module.__name__
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
