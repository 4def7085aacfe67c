"""Become another program that does not outlive its parent: ``python tied.py PARENT PROGRAM …``.

Nothing but the standard library, and little of it: this stands before the start of
every process of ``branchline up``.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(parent: int, program: list[str]) -> None:
    """Have the kernel send SIGTERM when ``parent`` is gone (Linux), then become ``program``."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it was gone before we asked
            sys.exit(1)
    os.execvp(program[0], program)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
