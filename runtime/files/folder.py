"""Contents in a folder of this machine, or of one that all web processes share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from runtime.errors import FilesUnavailable
from runtime.files.contents import PIECE
from runtime.system.greenlets import ThreadPool

_threads = ThreadPool(4)
"""A disk, above all one in the network, may take its time."""


class Folder:
    """Each content is a file, ``<workspace>/<first two digits>/<hash>``."""

    def __init__(self, root: Path) -> None:
        """``root`` is made when it is first needed."""
        self._root = root

    def put(self, staged: Path, workspace_id: str, hash: str) -> None:
        """Move the file to its place, where it is whole or not at all."""
        _threads.call(self._put, staged, self._path(workspace_id, hash))

    def read(self, workspace_id: str, hash: str, start: int, end: int) -> Iterator[bytes]:
        """Its bytes."""
        path = self._path(workspace_id, hash)
        try:
            descriptor = _threads.call(os.open, path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise FilesUnavailable(f"The content of the file cannot be read: {error.strerror}.") from error
        return _pieces(descriptor, start, end)

    def delete(self, workspace_id: str, hash: str) -> None:
        """Remove it, and the folder in which it was the last."""
        path = self._path(workspace_id, hash)
        with _said(), suppress(FileNotFoundError):
            path.unlink()
        with suppress(OSError):
            path.parent.rmdir()
            path.parent.parent.rmdir()

    def _put(self, staged: Path, path: Path) -> None:
        with _said():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                os.replace(staged, path)
            except FileNotFoundError:  # whoever deleted the last one there has removed the folder
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                os.replace(staged, path)
            _sync(path.parent)

    def _path(self, workspace_id: str, hash: str) -> Path:
        return self._root / workspace_id / hash[:2] / hash


class _said:  # noqa: N801 - as contextlib.suppress
    """Within it, what the disk refuses is FilesUnavailable."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            raise FilesUnavailable(f"The file cannot be stored: {error.strerror}.") from error


def _pieces(descriptor: int, start: int, end: int) -> Iterator[bytes]:
    try:
        while start < end:
            piece = _threads.call(os.pread, descriptor, min(PIECE, end - start), start)
            if not piece:
                raise FilesUnavailable("The content of the file is shorter than it was.")
            start += len(piece)
            yield piece
    finally:
        os.close(descriptor)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
