"""How long a process that has imported the SDK takes to fork a child that says one byte.

``python -m bench.floors.fork COUNT`` prints a JSON list of seconds.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time

import runtime.sdk.driver  # noqa: F401  what is forked has imported it


def forks(count: int) -> list[float]:
    """Seconds from before the fork until the child's byte is read, ``count`` times."""
    gc.freeze()
    took = []
    for _ in range(count):
        reader, writer = os.pipe()
        began = time.perf_counter()
        pid = os.fork()
        if pid == 0:
            os.write(writer, b".")
            os._exit(0)
        os.read(reader, 1)
        took.append(time.perf_counter() - began)
        os.waitpid(pid, 0)
        os.close(reader)
        os.close(writer)
    return took


if __name__ == "__main__":
    print(json.dumps(forks(int(sys.argv[1]))))
