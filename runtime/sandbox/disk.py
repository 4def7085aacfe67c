"""How much a run has written into its folder."""

from __future__ import annotations

import os

_BLOCK = 4096
"""Bytes that the smallest file, or folder, is counted with."""


def usage(path: str, enough: int) -> int:
    """How many bytes the files below a folder take; no more are counted once it is ``enough``.

    A folder that its owner cannot list counts as ``enough``: nobody could tell what is in it.
    """
    total, waiting = 0, [path]
    while waiting and total < enough:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    total += max(_BLOCK, entry.stat(follow_symlinks=False).st_blocks * 512)
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    if total >= enough:
                        break
        except FileNotFoundError:
            continue  # it has been removed meanwhile
        except OSError:
            return enough
    return total
