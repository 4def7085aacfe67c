"""What an author has registered with ``atexit``: in which process it runs, once.

What is registered while a host imports a worker, from a file of its folder, is for the end of each
run, and so runs in each fork of the host. What libraries register there, which may be to remove
what all runs use, and what is registered by ``@worker.startup``, runs at the end of the host.
"""

from __future__ import annotations

import atexit
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_Handler = tuple[Callable[..., object], tuple[Any, ...], dict[str, Any]]
_INSTALLED = ("site-packages", "dist-packages")


class Handlers:
    """Those that are for the end of each run, of a process whose forks execute the runs."""

    def __init__(self) -> None:
        self._handlers: list[_Handler] = []

    @contextmanager
    def collected(self, folder: str) -> Iterator[None]:
        """Collect what code in ``folder`` registers meanwhile, instead of registering it here."""
        register, unregister = atexit.register, atexit.unregister

        def collect(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Callable[..., Any]:
            if not _is_of(folder, sys._getframe(1).f_code.co_filename):
                return register(function, *args, **kwargs)
            self._handlers.append((function, args, kwargs))
            return function

        def forget(function: Callable[..., object]) -> None:
            self._handlers = [handler for handler in self._handlers if handler[0] != function]
            unregister(function)

        atexit.register, atexit.unregister = collect, forget  # type: ignore[assignment]
        try:
            yield
        finally:
            atexit.register, atexit.unregister = register, unregister

    def take_over(self) -> None:
        """In a fork: its end is that of a run, and not of the host."""
        atexit._clear()
        _forget_processes()
        self.register()

    def register(self) -> None:
        """The end of this process is that of a run."""
        for function, args, kwargs in self._handlers:
            atexit.register(function, *args, **kwargs)


def pending() -> bool:
    """Whether anything is to run at the end of this process."""
    return atexit._ncallbacks() > 0


def run() -> None:
    """Run what is registered, the last one first, as the end of an interpreter does; once."""
    try:
        atexit._run_exitfuncs()
    except BaseException:  # Python 3.11 prints all of them itself; what it raises is the last one
        traceback.print_exc()


def _is_of(folder: str, file: str) -> bool:
    file = os.path.abspath(file)
    if not file.startswith(f"{folder}{os.sep}"):
        return False
    return not any(part in _INSTALLED for part in file[len(folder) :].split(os.sep))


def _forget_processes() -> None:
    """Processes that multiprocessing has started in the host are not for a fork to end."""
    process = sys.modules.get("multiprocessing.process")
    if process is not None:
        process._children.clear()
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util._finalizer_registry.clear()
