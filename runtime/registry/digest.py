"""The digest of a worker's folder: a different digest is a different version of the worker."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Set
from pathlib import Path

_MAX_FULL = 16 << 20
"""Files of up to so many bytes are digested completely."""

_SETTLED = 1_000_000_000
"""Nanoseconds after which a file that is written gets another time for certain."""


Identity = tuple[tuple[str, int, int, int, int], ...]
"""What is another one once any file of a folder was written to, replaced, added or removed."""


def digest_of(folder: Path, written: Set[str] = frozenset()) -> str:
    """SHA-256 over the names and contents of all files but caches, hidden files and node_modules.

    Of a file over 16 MiB (a model's weights), only its size and both ends are included. ``written``
    are paths in the folder that its runs write to, and that do not count either.
    """
    total = hashlib.sha256()
    for path in sorted(Path(entry.path) for entry in _files(folder, written)):
        total.update(f"{path.relative_to(folder).as_posix()}\0".encode(errors="surrogateescape"))
        total.update(_file_digest(path))
    return total.hexdigest()


class FolderDigest:
    """The digest of a folder as it is now; its files are read again only where one of them has changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: Identity | None = None
        self._digest = ""

    def now(self) -> str:
        """The digest. Raises OSError where a file vanishes meanwhile."""
        seen = identity_of(self._folder)
        if seen != self._seen:
            self._digest = digest_of(self._folder)
            # A file that was written just now may be written again without another time.
            settled = all(changed < time.time_ns() - _SETTLED for *_, changed in seen)
            self._seen = seen if settled else None
        return self._digest


def identity_of(folder: Path, written: Set[str] = frozenset()) -> Identity:
    """The identity of all files that the digest includes. Raises OSError where one vanishes meanwhile."""
    return tuple(sorted(_identity(entry) for entry in _files(folder, written)))


def is_apart(name: str) -> bool:
    """Whether a file or folder of that name is none of a version: it is hidden, a cache, or node_modules."""
    return name.startswith(".") or name in ("__pycache__", "node_modules")


def is_large(size: int) -> bool:
    """Whether a file of so many bytes is not read as a whole."""
    return size > _MAX_FULL


def _identity(file: os.DirEntry[str]) -> tuple[str, int, int, int, int]:
    """What is another one once the file was written to, or replaced."""
    about = file.stat(follow_symlinks=False)
    return file.path, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns


def _files(folder: Path | str, written: Set[str]) -> Iterator[os.DirEntry[str]]:
    """The files of a folder that count. A pool looks each second: one call of the system for each will do."""
    try:
        with os.scandir(folder) as found:
            entries = list(found)
    except OSError:
        return  # it is gone, or closed to us
    for entry in entries:
        if entry.path in written:
            continue
        if entry.is_dir():
            if not is_apart(entry.name) and not entry.is_symlink():
                yield from _files(entry.path, written)
        elif not entry.name.startswith(".") and (entry.is_symlink() or entry.is_file()):
            yield entry


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
