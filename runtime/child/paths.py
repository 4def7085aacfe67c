"""Paths of this machine in texts that users see: file names take their place."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable

_PATH = re.compile(r"(?<![\w.:/])/(?:[^\s/'\"():,]+/)+(?=[^\s/'\"():,])")
"""The folders of an absolute path without spaces. One with spaces cannot be told from the words around it."""


def known_folders(entrypoint: str) -> set[str]:
    """The folders that errors of an import name most: the worker's, home, the checkout, the interpreter's."""
    folders = {os.path.dirname(entrypoint), os.getcwd(), os.path.expanduser("~"), sys.prefix, sys.base_prefix}
    return {*folders, *sys.path}


def without_paths(text: str, folders: Iterable[str] = ()) -> str:
    """``text`` with file names in place of absolute paths, of ``folders`` whatever their names hold."""
    # An OSError has the repr of its file's name in its text.
    known = {name for folder in folders if folder.rpartition("/")[0] for name in (folder, repr(folder)[1:-1])}
    for folder in sorted(known, key=len, reverse=True):
        while folder in text:  # to remove it may join what is around it to the same name
            text = text.replace(f"{folder}/", "").replace(folder, folder.rpartition("/")[2])
    return _PATH.sub("", text)
