"""What ``branchline kb add`` adds: the documents of a folder, a file, or a web page.

Texts are sent as they are. What is to be converted or fetched goes to runs of the worker ``ingest``,
some documents at a time, in an archive that keeps their paths.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.cli.output import counted, say
from runtime.errors import Invalid
from runtime.model import Json, RunStatus
from runtime.thread_api.client import Api, Refused

_TEXTS = frozenset({".md", ".markdown", ".mdx", ".html", ".htm", ".xhtml", ".txt", ".rst"})
_CONVERTED = frozenset({".pdf", ".docx"})
_LARGEST_TEXT = 4 << 20
"""Bytes that the server takes; a larger file is not even read."""
_LARGEST = 48 << 20
"""Bytes of a file that is converted: with the archive around it, it is what the server takes usually."""
_AT_ONCE = 20
"""Files that one run converts, at most."""
_BYTES_AT_ONCE = 16 << 20
_WAIT = 20
"""Seconds of one request that waits for a run."""


@dataclass(frozen=True, slots=True)
class File:
    """A document in a file."""

    name: str
    """What it is called in its source."""
    path: Path

    @property
    def is_converted(self) -> bool:
        """Whether it is no text, and a run has to make one of it."""
        return self.path.suffix.lower() in _CONVERTED

    def read(self, largest: int) -> bytes:
        """Its content. Raises Invalid where it has more bytes than ``largest``, and OSError."""
        if self.path.stat().st_size > largest:
            raise Invalid(f"it is larger than {largest >> 20} MiB")
        return self.path.read_bytes()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What has become of a document."""

    name: str
    told: str
    failed: bool = False


def documents(path: Path) -> Iterator[File]:
    """The document at a path, or those in the folder that is there."""
    if path.is_file():
        yield File(path.name, path)
        return
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for file in sorted(Path(folder, name) for name in files if not name.startswith(".")):
            if file.suffix.lower() in _TEXTS | _CONVERTED and not file.is_symlink() and file.is_file():
                name = os.fsencode(file.relative_to(path)).decode("utf-8", "replace")
                yield File(name.replace(os.sep, "/"), file)


class Target:
    """The source that documents are added to."""

    def __init__(self, api: Api, path: str) -> None:
        """``path``: of the source in the API."""
        self._api = api
        self._path = path

    def add(self, found: Sequence[File | str]) -> Iterator[Outcome]:
        """Add files and the pages at addresses; texts first."""
        pages = [one for one in found if isinstance(one, str)]
        files = [one for one in found if not isinstance(one, str)]
        for file in files:
            if not file.is_converted:
                yield self._add_text(file)
        if converted := [file for file in files if file.is_converted]:
            yield from self._add_converted(converted)
        if pages:
            yield from self._ingested(pages, lambda: {"urls": pages})

    def _add_text(self, file: File) -> Outcome:
        try:
            answer = self._api.upload(f"{self._path}/documents", file.read(_LARGEST_TEXT), name=file.name)
        except (Refused, Invalid, OSError) as error:
            return Outcome(file.name, f"failed: {error}", failed=True)
        passages = counted(answer["document"]["passages"], "passage")
        return Outcome(file.name, passages if answer["changed"] else "unchanged")

    def _add_converted(self, files: Sequence[File]) -> Iterator[Outcome]:
        there = {one["name"]: one["digest"] for one in self._api.all(f"{self._path}/documents")}
        batch: dict[str, bytes] = {}
        for file in files:
            try:
                content = file.read(_LARGEST)
            except (Invalid, OSError) as error:
                yield Outcome(file.name, f"failed: {error}", failed=True)
                continue
            if there.get(file.name) == hashlib.sha256(content).hexdigest():
                yield Outcome(file.name, "unchanged")
                continue
            size = sum(map(len, batch.values())) + len(content)
            if batch and (len(batch) == _AT_ONCE or size > _BYTES_AT_ONCE):
                yield from self._ingest_files(batch)
                batch = {}
            batch[file.name] = content
        if batch:
            yield from self._ingest_files(batch)

    def _ingest_files(self, contents: Mapping[str, bytes]) -> Iterator[Outcome]:
        def uploaded() -> Json:
            file = self._api.upload("/api/files", _archive(contents))["file"]
            return {"files": [file["id"]]}

        return self._ingested([*contents], uploaded)

    def _ingested(self, names: Sequence[str], asked: Callable[[], Json]) -> Iterator[Outcome]:
        """Have a run add documents. Its thread goes to the trash, with what was uploaded."""
        try:
            run = self._api.post(f"{self._path}/ingestions", asked())["run"]
            told = self._ended(run["id"])
            self._api.delete(f"/api/threads/{run['thread_id']}")
        except (Refused, Invalid, OSError) as error:
            yield from (Outcome(name, f"failed: {error}", failed=True) for name in names)
            return
        became = {one["name"]: f"failed: {one['problem']}" for one in told["failed"]}
        became |= dict.fromkeys(told["added"], "added") | dict.fromkeys(told["unchanged"], "unchanged")
        for name in names:
            end = became.get(name, "failed: it was left out")
            yield Outcome(name, end, failed=end.startswith("failed"))

    def _ended(self, run_id: str) -> dict[str, Json]:
        """What a run tells at its end. Raises Invalid where it has failed."""
        waits = False
        while True:
            answer = self._api.get(f"/api/runs/{run_id}/wait", timeout=_WAIT)
            run = answer["run"]
            if RunStatus(run["status"]).terminal:
                break
            if run["status"] == RunStatus.QUEUED and not waits:
                say("Waiting for a pool to convert them; Ctrl-C leaves that to it.")
                waits = True
        if run["status"] != RunStatus.SUCCESS:
            raise Invalid((run["error"] or {}).get("message") or f"its run ended with {run['status']}")
        told: dict[str, Json] = answer["messages"][-1]["data"]
        return told


def _archive(contents: Mapping[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return target.getvalue()
