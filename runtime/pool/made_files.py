"""Files that a worker's messages name: they are looked up before anybody sees the message."""

from __future__ import annotations

from dataclasses import replace

import gevent

from runtime.child import protocol
from runtime.errors import StoreUnavailable
from runtime.model import File
from runtime.pool.attempt import Attempt
from runtime.store import Database, files

_RETRY_PAUSE = 0.25
"""Seconds between two tries while the database is away."""


class MadeFiles:
    """Finds the files that the messages of one attempt name."""

    def __init__(self, attempt: Attempt, database: Database) -> None:
        self._attempt = attempt
        self._database = database

    def name(self, said: protocol.CompleteMessage) -> protocol.CompleteMessage:
        """The message with what its files are. Those that its thread does not have are left out."""
        found = self._find(said.files)
        missing = [file_id for file_id in said.files if file_id not in found]
        if missing:
            text = f"[branchline] left out of a message: its thread has no file {', '.join(missing)}\n"
            self._attempt.transcript.log.write(text.encode())
        return replace(said, files=[found[id].mention() for id in said.files if id in found])

    def _find(self, ids: list[str]) -> dict[str, File]:
        while True:
            try:
                return self._database.read(files.of_thread, self._attempt.run.thread_id, ids)
            except StoreUnavailable:
                if self._attempt.lost:
                    return {}
                gevent.sleep(_RETRY_PAUSE)
