"""Threads that the import of a worker has begun: which, and which import has begun them.

A fork copies only the thread that forks, and locks that others hold stay locked in it. So a
process with threads is not forked, and its author is told what to change.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from runtime.system import processes

_MOST_NAMED = 5


class ImportWatch:
    """Sees each import that begins, as a finder that finds nothing, and counts the threads there are then."""

    def __init__(self) -> None:
        self._count = processes.threads()
        self._importing = ""
        self.began: dict[str, None] = {}
        """The modules during whose import threads began, the first one first."""

    def __enter__(self) -> ImportWatch:
        sys.meta_path.insert(0, self)
        return self

    def __exit__(self, *_: object) -> None:
        sys.meta_path.remove(self)
        self._look()

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """``name`` is about to be imported. A finder that is asked for None leaves it to the others."""
        self._look()
        self._importing = name

    def _look(self) -> None:
        count = processes.threads()
        if count > self._count and self._importing:
            self.began[self._importing] = None
        self._count = count


def describe(began: dict[str, None]) -> str:
    """The threads beside the main one as half a sentence; empty if there are none."""
    others = processes.threads() - 1
    if others <= 0:
        return ""
    named = _of_python()
    native = others - len(named)
    parts = named[:_MOST_NAMED]
    if len(named) > _MOST_NAMED:
        parts.append(f"{len(named) - _MOST_NAMED} more of Python")
    if native > 0:
        since = f", since the import of {' and '.join(list(began)[:_MOST_NAMED])}" if began else ""
        parts.append(f"{native} of native code{_native_names(native)}{since}")
    return f"{others} thread{'s' if others > 1 else ''}: {', '.join(parts)}"


def _of_python() -> list[str]:
    """Those that Python knows, as ``'poller' (poll in shout.py)``."""
    threading = sys.modules.get("threading")
    if threading is None:
        return []
    main = threading.main_thread()
    return [f"{thread.name!r}{_where(thread)}" for thread in threading.enumerate() if thread is not main]


def _where(thread: Any) -> str:
    code = getattr(getattr(thread, "_target", None), "__code__", None)
    return f" ({code.co_name} in {os.path.basename(code.co_filename)})" if code is not None else ""


def _native_names(count: int) -> str:
    """What they are called, where they have been given another name than the process has."""
    own = _comm("/proc/self/comm")
    try:
        found = sorted({_comm(f"/proc/self/task/{task}/comm") for task in os.listdir("/proc/self/task")})
    except OSError:
        return ""
    names = [name for name in found if name not in ("", own)][: min(count, _MOST_NAMED)]
    return f" ({', '.join(names)})" if names else ""


def _comm(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""
