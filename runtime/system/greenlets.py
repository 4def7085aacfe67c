"""Greenlets: whether this process runs under gevent, and calls that its threads make aside.

Web and pool processes have gevent patch the standard library; the command line and
most tests do not. What differs between the two asks here, so that the question is put
one way everywhere. Importing this module imports no gevent.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")


def patched() -> bool:
    """Whether gevent has patched this process, so that a wait lets other greenlets run."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and monkey.is_module_patched("socket")


@contextmanager
def plugins_read_once() -> Iterator[None]:
    """For ``gevent.monkey.patch_all()``: what all installed packages declare is read once.

    gevent asks before and after each module that it patches which packages want to know of it, and
    each time the declarations of every package are opened anew: some thousand files, and a sixth of
    the time in which a process starts.
    """
    from importlib import metadata

    ask = metadata.entry_points
    metadata.entry_points = ask().select
    try:
        yield
    finally:
        metadata.entry_points = ask


def original(module: str, name: str) -> Any:
    """A name of the standard library as it was before gevent replaced it."""
    if patched():
        from gevent.monkey import get_original

        return get_original(module, name)
    return getattr(importlib.import_module(module), name)


class ThreadPool:
    """Native threads for what would hold up every greenlet: SQLite, hashing, parsing of large bodies.

    The calling greenlet waits for the result while others run. Outside gevent the call
    is made directly.
    """

    def __init__(self, size: int) -> None:
        """``size``: how many calls are made at once; further ones wait."""
        self._size = size

    def call(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """What ``function`` returns. Raises what it raises."""
        if not patched():
            return function(*args, **kwargs)
        return cast(T, _result(*self._threads.apply(_outcome, (function, args, kwargs))))

    def begin(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Callable[[], T]:
        """The same, for a caller with more to do: what is returned waits for the result."""
        if not patched():
            return begin(function, *args, **kwargs)
        begun = self._threads.spawn(_outcome, function, args, kwargs)
        return lambda: cast(T, _result(*begun.get()))

    @cached_property
    def _threads(self) -> Any:
        from gevent.threadpool import ThreadPool as Threads

        return Threads(self._size)


class Home:
    """The thread whose greenlets made this; others have their calls made there.

    For what greenlets share, such as a socket: a thread of a :class:`ThreadPool`, in which a
    transaction of SQLite runs, cannot wait for it.
    """

    def __init__(self) -> None:
        self._ident = original("_thread", "get_ident")()
        self._hub: Any = None
        if patched():
            import gevent

            self._hub = gevent.get_hub()

    def call(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """What ``function`` returns. Raises what it raises."""
        if self._hub is None or original("_thread", "get_ident")() == self._ident:
            return function(*args, **kwargs)
        import gevent

        done = original("_thread", "allocate_lock")()
        done.acquire()
        found: list[tuple[Any, Exception | None]] = []

        def work() -> None:
            found.append(_outcome(function, args, kwargs))
            done.release()

        self._hub.loop.run_callback_threadsafe(gevent.spawn, work)
        done.acquire()
        return cast(T, _result(*found[0]))


def begin(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Callable[[], T]:
    """Begin a call in a native thread; what is returned waits for its result, and raises what it raises.

    For a thread without greenlets, such as one of a :class:`ThreadPool`: they would wait with it.
    """
    done = original("_thread", "allocate_lock")()
    done.acquire()
    found: list[tuple[Any, Exception | None]] = []

    def work() -> None:
        found.append(_outcome(function, args, kwargs))
        done.release()

    original("_thread", "start_new_thread")(work, ())

    def wait() -> T:
        done.acquire()
        return cast(T, _result(*found[0]))

    return wait


def _result(result: Any, error: Exception | None) -> Any:
    if error is not None:
        raise error
    return result


def _outcome(function: Any, args: Any, kwargs: Any) -> tuple[Any, Exception | None]:
    """The result or the error: gevent prints whatever a thread raises, a user's mistakes too."""
    try:
        return function(*args, **kwargs), None
    except Exception as error:
        return None, error
