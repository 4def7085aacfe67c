"""What takes the processor for long is done aside: in threads, so that streams flow on meanwhile."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cached_property
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")


class Aside:
    """Calls functions that touch neither database nor request in threads of its own, under gevent."""

    def __init__(self, at_once: int) -> None:
        """``at_once``: how many calls are under way; further ones wait."""
        self._at_once = at_once

    def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """What ``function`` returns. Raises what it raises."""
        monkey = sys.modules.get("gevent.monkey")
        if monkey is None or not monkey.is_module_patched("socket"):
            return function(*args, **kwargs)
        result, error = self._threads.apply(_outcome, (function, args, kwargs))
        if error is not None:
            raise error
        return cast(T, result)

    @cached_property
    def _threads(self) -> Any:
        from gevent.threadpool import ThreadPool

        return ThreadPool(self._at_once)


def _outcome(function: Any, args: Any, kwargs: Any) -> tuple[Any, Exception | None]:
    """The result or the error. gevent prints whatever a thread raises, a user's mistakes too."""
    try:
        return function(*args, **kwargs), None
    except Exception as error:
        return None, error
