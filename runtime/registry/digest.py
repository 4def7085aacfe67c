"""The digest of a worker's folder: a different digest is a different version of the worker."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

_MAX_FULL = 16 << 20
"""Files of up to so many bytes are digested completely."""


def digest_of(folder: Path) -> str:
    """SHA-256 over the names and contents of all files but caches, hidden files and node_modules.

    Of a file over 16 MiB (a model's weights), only its size and both ends are included.
    """
    total = hashlib.sha256()
    for path in sorted(_files(folder)):
        total.update(f"{path.relative_to(folder).as_posix()}\0".encode(errors="surrogateescape"))
        total.update(_file_digest(path))
    return total.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and name not in ("__pycache__", "node_modules")
        ]
        for name in names:
            path = Path(root, name)
            if not name.startswith(".") and (path.is_symlink() or path.is_file()):
                yield path


def _file_digest(path: Path) -> bytes:
    if path.is_symlink():
        return hashlib.sha256(os.fsencode(os.readlink(path))).digest()
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size <= _MAX_FULL:
            return hashlib.file_digest(file, "sha256").digest()
        ends = hashlib.sha256(str(size).encode() + file.read(_MAX_FULL // 2))
        file.seek(-_MAX_FULL // 2, os.SEEK_END)
        ends.update(file.read())
        return ends.digest()
