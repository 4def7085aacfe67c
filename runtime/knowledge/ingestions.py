"""Ingestions: runs of the worker ``ingest``, which add files and web pages to a source.

What has to be fetched or converted is not touched by a web process, but by the child of a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from runtime.dispatch import Dispatcher, NewThread, RunRequest
from runtime.knowledge import ingestion_store, store
from runtime.model import Role, Run, User
from runtime.store import Connection, Database
from runtime.store.states import NewMessage

WORKER = "ingest"
MOST_ADDRESSES = 100
"""Web pages that one ingestion may add."""


class Ingestions:
    """The ingestions of all users."""

    def __init__(self, dispatcher: Dispatcher, database: Database) -> None:
        self._dispatcher = dispatcher
        self._database = database

    def begin(self, user: User, source_id: str, urls: Sequence[str], files: Sequence[str]) -> Run:
        """Have pages and uploaded files, by their ids, added to a source, in a thread of its own.

        Raises NotFound, and what :meth:`Dispatcher.create` raises.
        """
        source = self._database.read(store.get_source, user.workspace_id, source_id)
        # In angle brackets an address ends where it ends, and is a link in a conversation.
        text = "\n".join(f"<{url}>" for url in urls)
        message = NewMessage(Role.USER, text, files=[{"id": file_id} for file_id in files] or None)
        asked = RunRequest(messages=[message], worker_id=WORKER, config={"source": source.name})
        thread = NewThread(f"Documents for {source.name}")
        note = partial(_note, source_id)
        return self._dispatcher.create(user, thread, asked, note=note).runs[0]


def _note(source_id: str, c: Connection, run: Run) -> None:
    ingestion_store.note(c, source_id, run)
