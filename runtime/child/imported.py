"""The import of a worker, in a host or in an interpreter that was started ahead of a run."""

from __future__ import annotations

import os
import re
import sys
import traceback
from importlib.machinery import PathFinder

from runtime.child import forked, threads
from runtime.child.paths import known_folders, without_paths
from runtime.sdk.exits import Handlers
from runtime.sdk.loader import Function, Loaded, load
from runtime.sdk.version import PROTOCOL

_PROTOCOL = re.compile(r"^PROTOCOL\b[^=\n]*=\s*(\d+)", re.MULTILINE)


class ImportFailed(Exception):
    """The worker could not be imported; the message says why, as half a sentence."""

    def __init__(self, message: str, *, lost: bool) -> None:
        """``lost``: not the worker is to blame, but this machine."""
        super().__init__(message)
        self.lost = lost


class Imported:
    """A worker that this process has imported."""

    def __init__(self, entrypoint: str) -> None:
        """Import it. Raises ImportFailed."""
        sys.path.insert(0, os.path.dirname(entrypoint))
        self._entrypoint = entrypoint
        self._watch = threads.ImportWatch()
        self.handlers = Handlers()
        """What it has registered for the end of each run."""
        _check_sdk()
        try:
            with self._watch, self.handlers.collected(os.path.dirname(os.path.abspath(entrypoint))):
                self.loaded: Loaded = load(entrypoint)
            # What the SDK imports when it is asked for, before every run that asks does so by itself.
            from runtime.sdk import formats, logs, tools, turns  # noqa: F401
        except BaseException as error:
            raise self._failed("", error) from error
        if _is_async(self.loaded.function):
            import asyncio  # noqa: F401  every run needs it, so it is imported once, here

    def start_up(self) -> None:
        """Call what it has marked with ``@worker.startup``. Raises ImportFailed."""
        try:
            with self._watch:
                self.loaded.start_up()
        except BaseException as error:
            raise self._failed("its startup failed: ", error) from error

    def threads(self) -> str:
        """What has begun beside the main thread, as half a sentence; empty where it may be forked."""
        return threads.describe(self._watch.began)

    def _failed(self, what: str, error: BaseException) -> ImportFailed:
        """By the fault of the worker, or by that of this machine."""
        traceback.print_exception(error)
        if not os.path.exists(self._entrypoint):
            return ImportFailed(forked.FOLDER_MISSING, lost=True)
        if forked.is_of_machine(error):
            return ImportFailed(f"{what or 'its import failed: '}{error.strerror}", lost=True)
        where = traceback.extract_tb(error.__traceback__)[-1]
        position = f"{os.path.basename(where.filename)}, line {where.lineno}"
        text = without_paths(str(error)[:4000], known_folders(self._entrypoint))
        return ImportFailed(f"{what}{type(error).__name__}: {text} ({position})", lost=False)


def _check_sdk() -> None:
    """Refuse an environment whose own SDK is for a pool of another version. Raises ImportFailed.

    The worker gets the pool's SDK under both names, and was written and tested with the other one.
    """
    spec = PathFinder.find_spec("branchline_sdk")
    if spec is None or spec.origin is None:
        return
    try:
        with open(os.path.join(os.path.dirname(spec.origin), "version.py"), encoding="utf-8") as file:
            found = _PROTOCOL.search(file.read())
    except OSError:
        return
    if found is not None and int(found[1]) != PROTOCOL:
        raise ImportFailed(
            f"the branchline-sdk of its environment has version {found[1]} of the protocol, and the pool "
            f"version {PROTOCOL}; install the branchline-sdk of the version of Branchline that the pool has",
            lost=False,
        )


def _is_async(function: Function) -> bool:
    code = getattr(function, "__code__", None)
    return code is not None and bool(code.co_flags & 0x280)  # CO_COROUTINE | CO_ASYNC_GENERATOR
