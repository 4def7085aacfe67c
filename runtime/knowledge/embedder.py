"""Has passages embedded, some at a time, as tasks in the outbox say.

Web processes do it beside their requests: they have the key of the endpoint in any case, for queries, and
a round of the reaper must not wait for anybody. A process that dies leaves its tasks to the others, and no
passage is asked for again whose vector was stored. While the endpoint is away, its tasks wait: 1 s, and
twice as long after each further failure.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence

import gevent

from runtime.errors import EmbeddingsUnavailable
from runtime.knowledge import embeddings
from runtime.knowledge.embeddings import EMBED, Unembedded
from runtime.knowledge.endpoint import REFUSALS, Endpoint
from runtime.store import Database, outbox
from runtime.store.outbox import Task

log = logging.getLogger(__name__)

_LOOKED = 1.0
"""Seconds between two looks for tasks, while there are none."""
_TASKS = 20
"""Documents whose passages may be in one request."""
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 300.0
_ANY_TEXT = "a text"


class Embedder:
    """Has the passages of an installation embedded, by one process."""

    def __init__(self, database: Database, endpoint: Endpoint) -> None:
        self._database = database
        self._endpoint = endpoint
        self._failures = 0
        """In a row."""
        self._until = 0.0
        """When the endpoint may be asked again, by the monotonic clock."""

    def run(self) -> Iterator[None]:
        """The body of a duty."""
        while self._database.write(embeddings.note_model, self._endpoint.name):
            yield
        while True:
            if not self.embed_some():
                gevent.sleep(_LOOKED)
            yield

    def embed_some(self) -> bool:
        """Carry out some tasks; whether there may be more to do now."""
        if time.monotonic() < self._until or not self._database.read(outbox.is_due, (EMBED,)):
            return False
        tasks = self._database.write(outbox.take, (EMBED,), _TASKS)
        about_sources = [task for task in tasks if "source_id" in task.payload]
        for task in about_sources:
            self._database.write(embeddings.split, task)
        tasks = [task for task in tasks if task not in about_sources]
        if not tasks:
            return True
        wanted = [task.payload["document_id"] for task in tasks]
        found = self._database.read(
            embeddings.unembedded, self._endpoint.name, wanted, self._endpoint.batch + 1
        )
        batch, further = found[: self._endpoint.batch], found[self._endpoint.batch :]
        try:
            vectors = self._vectors(batch)
        except EmbeddingsUnavailable as error:
            self._wait(tasks, error)
            return False
        self._failures = 0
        made = list(zip(batch, vectors, strict=True))
        self._database.write(embeddings.keep, self._endpoint.name, made, tasks, further)
        return True

    def _vectors(self, batch: Sequence[Unembedded]) -> list[bytes | None]:
        """The vectors of passages; None of one that the endpoint refuses. Raises EmbeddingsUnavailable."""
        if not batch:
            return []
        try:
            return [*self._endpoint.embed([passage.content for passage in batch])]
        except EmbeddingsUnavailable as error:
            if error.status not in REFUSALS:
                raise
        if len(batch) > 1:
            half = len(batch) // 2
            return self._vectors(batch[:half]) + self._vectors(batch[half:])
        self._endpoint.embed([_ANY_TEXT])  # it is this text that it refuses, not every one
        passage = batch[0]
        log.warning(
            "the embeddings endpoint refuses passage %d of document %s", passage.id, passage.document_id
        )
        return [None]

    def _wait(self, tasks: Sequence[Task], error: EmbeddingsUnavailable) -> None:
        pause = min(_FIRST_PAUSE * 2**self._failures, _LONGEST_PAUSE)
        if error.pause is not None:
            pause = max(pause, error.pause)
        if not self._failures:
            log.warning("passages wait for their vectors: %s", error)
        self._failures += 1
        self._until = time.monotonic() + pause
        self._database.write(embeddings.put_back, tasks, pause, str(error))
