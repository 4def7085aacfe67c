"""An export with its files: a ZIP archive with ``thread.json``, and each content as ``files/<id>``."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson

from runtime.errors import Invalid
from runtime.model import File, Json

_THREAD = "thread.json"
_MOST_ENTRIES = 10_000
_PIECE = 1 << 20
"""Bytes that are read at once."""
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)
"""What ``zipfile`` raises where an archive is damaged, encrypted, or none."""


def write(exported: Json, files: Iterable[File], read: Callable[[File], Iterator[bytes]]) -> Iterator[bytes]:
    """The archive, in pieces; ``read`` gives the content of a file. Contents are not compressed again."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w") as archive:  # type: ignore[call-overload]
        archive.writestr(_THREAD, orjson.dumps(exported), zipfile.ZIP_DEFLATED)
        yield sink.take()
        for file in files:
            with archive.open(f"files/{file.id}", "w") as entry:
                for piece in read(file):
                    entry.write(piece)
                    yield sink.take()
    yield sink.take()


class Archive:
    """An archive that is to be imported. Nothing of what it says of itself is believed."""

    def __init__(self, opened: zipfile.ZipFile, largest_thread: int) -> None:
        """Raises Invalid."""
        self._opened = opened
        self._largest_thread = largest_thread
        self._entries = {entry.filename: entry for entry in opened.infolist()}
        if len(self._entries) > _MOST_ENTRIES:
            raise Invalid(f"The archive has more than {_MOST_ENTRIES} entries.")
        if any(entry.compress_type not in _COMPRESSIONS for entry in self._entries.values()):
            raise Invalid("The archive is compressed in a way that is not read here; deflate is.")

    def thread(self) -> bytes:
        """The export. Raises Invalid."""
        entry = self._entries.get(_THREAD)
        if entry is None:
            raise Invalid(f"The archive has no {_THREAD}; import one that was exported here.")
        with _reading(), self._opened.open(entry) as content:
            raw = content.read(self._largest_thread + 1)
        if len(raw) > self._largest_thread:
            raise Invalid(f"{_THREAD} has more than {self._largest_thread} bytes.")
        return raw

    def content(self, file_id: str) -> Iterator[bytes] | None:
        """The content of a file, in pieces; None where the archive does not have it. Raises Invalid."""
        entry = self._entries.get(f"files/{file_id}")
        return None if entry is None else self._pieces(entry)

    def _pieces(self, entry: zipfile.ZipInfo) -> Iterator[bytes]:
        with _reading():
            content = self._opened.open(entry)
        with content:
            while True:
                with _reading():
                    piece = content.read(_PIECE)
                if not piece:
                    return
                yield piece


@contextmanager
def opened(path: Path, largest_thread: int) -> Iterator[Archive]:
    """The archive at ``path``, whose thread may have so many bytes. Raises Invalid where it is none."""
    with _reading():
        found = zipfile.ZipFile(path)
    with found:
        yield Archive(found, largest_thread)


@contextmanager
def _reading() -> Iterator[None]:
    """What is wrong with an archive that is read within this is Invalid."""
    try:
        yield
    except _BROKEN as error:
        raise Invalid(f"This is not a ZIP archive that can be read: {error}") from error


class _Sink:
    """What a ZIP archive is written to, and taken from piece by piece."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        """Keep what was written."""
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def take(self) -> bytes:
        """What was written since the last call."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)
