"""Staging: where an upload is written while it comes, on this machine."""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from runtime.errors import FilesUnavailable, FileTooLarge
from runtime.files import kinds
from runtime.system.greenlets import ThreadPool
from runtime.system.private_files import private_folder

_BUFFER = 1 << 20
"""Bytes that are hashed and written at once."""
_LEFT_AFTER = 86400.0
"""Seconds after which what is here was left by a process that has died."""
_threads = ThreadPool(4)


class Staged:
    """One upload. As a context manager it removes what is left of it."""

    def __init__(self, path: Path, largest: int) -> None:
        """``largest``: bytes that it may have. Raises FilesUnavailable."""
        self.path = path
        self.size = 0
        self._largest = largest
        self._head = b""
        self._hash = hashlib.sha256()
        self._buffer = bytearray()
        try:
            private_folder(path.parent)
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise FilesUnavailable(f"No file can be stored: {error.strerror}.") from error
        self._is_open = True

    @property
    def hash(self) -> str:
        """SHA-256 of what was written, in hexadecimal digits; to be asked for once it is closed."""
        return self._hash.hexdigest()

    def write(self, data: bytes | bytearray) -> None:
        """Append. Raises FileTooLarge, FilesUnavailable."""
        self.size += len(data)
        if self.size > self._largest:
            raise FileTooLarge(self._largest)
        if len(self._head) < kinds.HEAD:
            self._head += bytes(data[: kinds.HEAD - len(self._head)])
        self._buffer += data
        if len(self._buffer) >= _BUFFER:
            self._flush()

    def close(self) -> None:
        """All is written, and on the disk. Raises FilesUnavailable."""
        self._flush(sync=True)
        self._close()

    def type_of(self, name: str, hint: str | None = None) -> str:
        """What it is, see :func:`kinds.look`."""
        return kinds.look(self._head, name, hint)

    def __enter__(self) -> Staged:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()
        with suppress(OSError):
            self.path.unlink()

    def _flush(self, sync: bool = False) -> None:
        piece, self._buffer = self._buffer, bytearray()
        try:
            _threads.call(self._write, piece, sync)
        except OSError as error:
            raise FilesUnavailable(f"The file cannot be stored: {error.strerror}.") from error

    def _write(self, piece: bytearray, sync: bool) -> None:
        self._hash.update(piece)
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        if sync:
            os.fsync(self._descriptor)

    def _close(self) -> None:
        if self._is_open:
            self._is_open = False
            os.close(self._descriptor)


class Staging:
    """A folder for uploads that are under way."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def begin(self, largest: int) -> Staged:
        """Room for an upload of at most so many bytes. Raises FilesUnavailable."""
        return Staged(self._folder / secrets.token_hex(16), largest)

    def sweep(self) -> None:
        """Remove what processes have left that have died."""
        with suppress(FileNotFoundError):
            for path in self._folder.iterdir():
                with suppress(FileNotFoundError):
                    if time.time() - path.stat().st_mtime > _LEFT_AFTER:
                        path.unlink()
