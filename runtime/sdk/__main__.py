"""``python -m runtime.sdk FILE``: execute one run of the worker in FILE in a fresh interpreter."""

from __future__ import annotations

import os
import sys

from .driver import execute
from .loader import load
from .wire import Wire, line_buffer_stdout


def main() -> int:
    """Execute one run of the worker named on the command line. Returns an exit code."""
    path = os.path.abspath(sys.argv[1])
    sys.path.insert(0, os.path.dirname(path))
    wire = _redirect_stdio()
    loaded = load(path)
    os.chdir(os.path.dirname(path))
    loaded.start_up()
    return execute(loaded.function, wire)


def _redirect_stdio() -> Wire:
    """Make a wire of stdin and stdout.

    The worker's own stdin is empty and its stdout is stderr, so that neither it nor a
    program that it starts can read the pool's commands or write among the answers.
    """
    wire = Wire(os.dup(0), os.dup(1))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    line_buffer_stdout()
    return wire


if __name__ == "__main__":
    sys.exit(main())
