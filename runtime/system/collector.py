"""Python's garbage collector, which has nothing to collect while a process starts.

All that a process imports makes some hundred thousand objects, which stay until it ends. The
collector would go through them again and again meanwhile, and twice more at the end: a third
of the processor time of a short command.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


def pause() -> None:
    """Collect nothing until :func:`settle` is called."""
    gc.disable()


def settle() -> None:
    """From now on collect, but never look at what there is already."""
    gc.freeze()
    gc.enable()


@contextmanager
def paused() -> Iterator[None]:
    """Collect nothing while the block imports what the process needs."""
    pause()
    try:
        yield
    finally:
        settle()
