"""What web processes do with files: take them in, give them out, delete them."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runtime.errors import FilesUnavailable
from runtime.files.contents import Contents
from runtime.files.folder import Folder
from runtime.files.remote import Remote
from runtime.files.staging import Staged, Staging
from runtime.model import File, Run
from runtime.settings import Settings, storage_environ
from runtime.store import Database
from runtime.store import files as store

_LONGEST_NAME = 200
_NOT_IN_NAMES = re.compile(r"[\x00-\x1f\x7f\u200e\u200f\u202a-\u202e\u2066-\u2069]|[\ud800-\udfff]")
"""Control characters, and those that turn the direction of writing: ``gpj.exe`` would look like a picture."""


class Files:
    """The files of an installation."""

    def __init__(self, database: Database, settings: Settings) -> None:
        """Connects to nothing yet."""
        self._database = database
        self._quota = settings.files.quota
        self._unused_days = settings.files.unused_days
        self.largest = settings.files.max_size
        """Bytes that a file may have."""
        self._staging = Staging(settings.home / "files" / "incoming")
        self._contents = contents_at(settings)

    def stage(self, largest: int | None = None) -> Staged:
        """Room to write an upload to, as a context manager. Raises FilesUnavailable.

        ``largest``: bytes that it may have; None: as many as a file.
        """
        return self._staging.begin(self.largest if largest is None else largest)

    def add(self, staged: Staged, workspace_id: str, user_id: str, name: str) -> File:
        """Keep what a user has uploaded. Raises QuotaExceeded."""
        return self._keep(staged, _new(staged, workspace_id, user_id, name))

    def add_of_run(self, staged: Staged, run: Run, name: str, hint: str | None = None) -> File:
        """Keep what a run has made; the thread of the run names it from now on.

        What an earlier attempt has made under the same name is the same file. ``hint``: what the
        worker says that it is. Raises QuotaExceeded.
        """
        new = _new(staged, run.workspace_id, run.user_id, name, hint, run.id)
        before = self._database.read(store.made_before, run, new.name, new.hash)
        return before or self._keep(staged, new, run.thread_id)

    def read(self, file: File, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Bytes of a file, from ``start`` to before ``end``, in pieces. Raises FilesUnavailable."""
        return self._contents.read(file.workspace_id, file.hash, start, file.size if end is None else end)

    def delete(self, workspace_id: str, file_id: str) -> None:
        """Delete a file that no message names. Raises NotFound, Conflict."""
        self._drop(self._database.write(store.forget, workspace_id, file_id))

    def clean_up(self) -> None:
        """Delete what was not used for long, and what processes have left that have died."""
        while self._database.write(store.expire, self._unused_days):
            pass
        while gone := self._database.read(store.deleted):
            for file in gone:
                self._drop(file)
        self._staging.sweep()

    def _keep(self, staged: Staged, new: File, thread_id: str | None = None) -> File:
        self._database.write(store.begin, new, self._quota)

        def finish(c: Any) -> File:
            kept = store.finish(
                c,
                new,
                lambda: self._contents.put(staged.path, new.workspace_id, new.hash),
            )
            if thread_id is not None:
                store.use(c, thread_id, [kept.id])
            return kept

        try:
            return self._database.write(finish)
        except FilesUnavailable:
            self._database.write(store.give_up, new)
            raise

    def _drop(self, file: File) -> None:
        self._database.write(
            store.drop,
            file,
            lambda: self._contents.delete(file.workspace_id, file.hash),
        )


def contents_at(settings: Settings) -> Contents:
    """Where contents are kept. Raises ConfigurationError."""
    url = settings.service.files_url
    if not url:
        return Folder(settings.home / "files" / "kept")
    if url.startswith("file://"):
        return Folder(Path(url.removeprefix("file://")))
    return Remote(url, settings.home / "files" / "fetched", storage_environ())


def clean_name(name: str) -> str:
    """What a file is called, without folders and what could deceive its reader."""
    last = re.split(r"[/\\]", _NOT_IN_NAMES.sub("", name).strip())[-1].strip()
    if last in ("", ".", ".."):
        return "file"
    if len(last) <= _LONGEST_NAME:
        return last
    stem, dot, end = last.rpartition(".")
    end = dot + end if stem and len(end) < 20 else ""
    return last[: _LONGEST_NAME - len(end)] + end


def _new(
    staged: Staged,
    workspace_id: str,
    user_id: str,
    name: str,
    hint: str | None = None,
    run_id: str | None = None,
) -> File:
    staged.close()
    name = clean_name(name)
    return File(
        id=str(uuid.uuid4()),
        workspace_id=workspace_id,
        user_id=user_id,
        name=name,
        type=staged.type_of(name, hint),
        size=staged.size,
        hash=staged.hash,
        run_id=run_id,
    )
