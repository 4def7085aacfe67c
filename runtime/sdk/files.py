"""Files: those that messages name, and those that a run makes. Both are on the other side of the API."""

from __future__ import annotations

import json
import mimetypes
import os
import shutil
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, BinaryIO
from urllib.parse import quote, urlencode

from . import logs
from .errors import Failure
from .requests import has_server, read, request

Json = Any
_PIECE = 1 << 20


class File:
    """A file that a message names. Its content comes when it is asked for."""

    def __init__(self, fields: Mapping[str, Json]) -> None:
        self.id = str(fields.get("id"))
        self.name = str(fields.get("name") or "file")
        """What its owner calls it."""
        self.type = str(fields.get("type") or "application/octet-stream")
        """What it is, as ``image/png``; found by looking at its content."""
        self.size = int(fields.get("size") or 0)
        """Bytes."""
        self._path: Path | None = None
        self._local = fields.get("path")
        """Where it is, if there is no server: in a test."""

    def read(self) -> bytes:
        """All of its content. Raises Failure, which is retryable where another try makes sense."""
        return self.path.read_bytes()

    @property
    def path(self) -> Path:
        """Where its content is in the folder of this run; it is fetched there the first time."""
        if self._path is None:
            self._path = Path(self._local) if self._local else self._fetch()
        return self._path

    def open(self) -> BinaryIO:
        """Its content, to be read as a file is."""
        return self.path.open("rb")

    def as_fields(self) -> dict[str, Json]:
        """As messages name it."""
        return {"id": self.id, "name": self.name, "type": self.type, "size": self.size}

    def _fetch(self) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="file-"))
        path = folder / (os.path.basename(self.name) or "file")
        with request(f"files/{quote(self.id)}") as answer, path.open("wb") as target:
            while piece := read(answer, _PIECE):
                target.write(piece)
        if path.stat().st_size != self.size:
            raise Failure(f"The file {self.name!r} ended too early.", retryable=True)
        return path

    def __repr__(self) -> str:
        return f"File({self.name!r}, {self.type}, {self.size} bytes)"


def make(name: str, content: bytes | str | os.PathLike[str], type: str | None) -> File:
    """Send what a run has made. ``content``: bytes, or where they are. Raises Failure.

    Without a server, in a test or by ``branchline run``, it is kept here, and the log says where.
    """
    if not has_server():
        return _keep(name, content)
    query = urlencode({"name": name, **({"type": type} if type else {})})
    if isinstance(content, bytes | bytearray | memoryview):
        return _send(query, bytes(content), len(content))
    with open(content, "rb") as file:
        return _send(query, file, os.fstat(file.fileno()).st_size)


def _keep(name: str, content: bytes | str | os.PathLike[str]) -> File:
    path = Path(tempfile.mkdtemp(prefix="file-")) / (os.path.basename(name) or "file")
    if isinstance(content, bytes | bytearray | memoryview):
        path.write_bytes(content)
    else:
        shutil.copyfile(content, path)
    type, _ = mimetypes.guess_type(name)
    logs.write(f"made {name}, which is at {path}", "info", {})
    fields = {"id": str(uuid.uuid4()), "name": name, "type": type, "size": path.stat().st_size}
    return File({**fields, "path": str(path)})


def _send(query: str, body: bytes | IO[bytes], size: int) -> File:
    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
    with request(f"files?{query}", body, headers) as answer:
        return File(json.loads(read(answer))["file"])
