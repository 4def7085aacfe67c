"""The digest of a worker's folder: a different digest is a different version of the worker."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

_MAX_FULL = 16 << 20
"""Files of up to so many bytes are digested completely."""

_SETTLED = 1_000_000_000
"""Nanoseconds after which a file that is written gets another time for certain."""


def digest_of(folder: Path) -> str:
    """SHA-256 over the names and contents of all files but caches, hidden files and node_modules.

    Of a file over 16 MiB (a model's weights), only its size and both ends are included.
    """
    total = hashlib.sha256()
    for path in sorted(_files(folder)):
        total.update(f"{path.relative_to(folder).as_posix()}\0".encode(errors="surrogateescape"))
        total.update(_file_digest(path))
    return total.hexdigest()


class FolderDigest:
    """The digest of a folder as it is now; its files are read again only where one of them has changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: list[tuple[str, int, int, int, int]] | None = None
        self._digest = ""

    def now(self) -> str:
        """The digest. Raises OSError where a file vanishes meanwhile."""
        seen = sorted(_identity(path) for path in _files(self._folder))
        if seen != self._seen:
            self._digest = digest_of(self._folder)
            # A file that was written just now may be written again without another time.
            settled = all(changed < time.time_ns() - _SETTLED for *_, changed in seen)
            self._seen = seen if settled else None
        return self._digest


def _identity(path: Path) -> tuple[str, int, int, int, int]:
    """What is another one once the file was written to, or replaced."""
    about = path.lstat()
    return str(path), about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns


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
