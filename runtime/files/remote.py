"""Contents in a store elsewhere, such as S3, by a URL of fsspec."""

from __future__ import annotations

import importlib.util
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from runtime.errors import ConfigurationError, FilesUnavailable, LimitExceeded, TooMany, Unavailable
from runtime.files.storage import access
from runtime.process_pool import ProcessPool
from runtime.system.greenlets import Home, ThreadPool
from runtime.system.private_files import private_folder

_PROCESSES = 4
_SECONDS = 60.0
"""Of the processor that one access may need; by the clock it may take five times as long."""
_PATIENCE = 30.0
"""Seconds that an access may wait for its turn."""
_PIECE = 8 << 20
"""Bytes that are fetched at once: each time is a request to the store."""
_threads = ThreadPool(4)


class Remote:
    """Each content is an object, ``<URL>/<workspace>/<first two digits>/<hash>``."""

    def __init__(self, url: str, folder: Path, environ: Mapping[str, str]) -> None:
        """``folder``: for what is fetched, on this machine. ``environ``: by which the store is configured.

        Raises ConfigurationError where fsspec is not installed.
        """
        if importlib.util.find_spec("fsspec") is None:
            raise ConfigurationError(
                "FILES_URL names a store that fsspec reaches, which is not installed: pip install "
                "'branchline[s3]' for s3://, or fsspec and its package for another store."
            )
        self._url = url.rstrip("/")
        self._folder = folder
        self._home = Home()
        self._pool = ProcessPool(access, _PROCESSES, _SECONDS, _PATIENCE, environ)

    def put(self, staged: Path, workspace_id: str, hash: str) -> None:
        """Copy the file there."""
        self._do("put", workspace_id, hash, path=str(staged))

    def read(self, workspace_id: str, hash: str, start: int, end: int) -> Iterator[bytes]:
        """Its bytes; the first of them are fetched at once."""
        pieces = self._pieces(workspace_id, hash, start, end)
        first = next(pieces, b"")
        return _with_first(first, pieces)

    def delete(self, workspace_id: str, hash: str) -> None:
        """Remove it."""
        self._do("delete", workspace_id, hash)

    def _pieces(self, workspace_id: str, hash: str, start: int, end: int) -> Iterator[bytes]:
        while start < end:
            stop = min(start + _PIECE, end)
            path = private_folder(self._folder) / secrets.token_hex(16)
            try:
                self._do("get", workspace_id, hash, path=str(path), start=start, end=stop)
                piece = _threads.call(path.read_bytes)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(path)
            if len(piece) != stop - start:
                raise FilesUnavailable("The content of the file is shorter than it was.")
            yield piece
            start = stop

    def _do(self, what: str, workspace_id: str, hash: str, **more: Any) -> None:
        url = f"{self._url}/{workspace_id}/{hash[:2]}/{hash}"
        try:
            # Each by itself: several accesses of one user may be under way.
            answer = self._home.call(
                self._pool.call, {"do": what, "root": self._url, "url": url, **more}, secrets.token_hex(8)
            )
        except (LimitExceeded, TooMany, Unavailable) as error:
            raise FilesUnavailable(
                "The store of the files does not answer; try again in a moment."
            ) from error
        if "error" in answer:
            raise FilesUnavailable(f"The store of the files refuses: {answer['error']}.")


def _with_first(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest
