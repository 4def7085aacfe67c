"""Has passages embedded, some at a time, as tasks in the outbox say.

Web processes do it beside their requests: they have the key of the endpoint in any case, for queries, and
a round of the reaper must not wait for anybody. A process that dies leaves its tasks to the others, and no
passage is asked for again whose vector was stored. While the endpoint is away, its tasks wait: 1 s, and
twice as long after each further failure.

Tasks have the name of their model. While processes of two models live, as in an upgrade, each carries out its
own; and from time to time it is seen to it that no passage was left without a vector.
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
_DOUBTFUL = 3
"""Failures in a row after which it is asked whether a text is what the endpoint fails at."""
_NO_TEXT = (401, 403, 404, 429, 503)
"""What is answered whatever the text."""
_RECONCILED = 3600.0
"""Seconds after which it is looked for passages without vectors again."""


class Embedder:
    """Has the passages of an installation embedded, by one process."""

    def __init__(self, database: Database, endpoint: Endpoint) -> None:
        self._database = database
        self._endpoint = endpoint
        self._failures = 0
        """In a row."""
        self._doubtful = 0
        """Those in a row that a text may be to blame for."""
        self._reconciled_at = 0.0
        """When passages without vectors are to be looked for, by the monotonic clock."""
        self._until = 0.0
        """When the endpoint may be asked again, by the monotonic clock."""

    def run(self) -> Iterator[None]:
        """The body of a duty."""
        while self._database.write(embeddings.note_model, self._endpoint.name):
            yield
        while True:
            if not self.embed_some():
                self.reconcile()
                gevent.sleep(_LOOKED)
            yield

    def reconcile(self) -> None:
        """Have what has no vector embedded, if it is time to look for that."""
        now = time.monotonic()
        if now < max(self._until, self._reconciled_at):
            return
        if self._database.read(embeddings.are_wanted):
            return  # what waits may be all that is missing
        name = self._endpoint.name
        found = self._database.read(embeddings.missing, name)
        if found:
            self._database.write(embeddings.note_documents, name, found)
        else:
            self._reconciled_at = now + _RECONCILED

    def embed_some(self) -> bool:
        """Carry out some tasks; whether there may be more to do now."""
        if time.monotonic() < self._until or not self._database.read(outbox.is_due, (EMBED,)):
            return False
        tasks = self._database.write(outbox.take, (EMBED,), _TASKS)
        tasks = self._own(tasks)
        if not tasks:
            return True
        wanted = [task.payload["document_id"] for task in tasks]
        name = self._endpoint.name
        found = self._database.read(embeddings.unembedded, name, wanted, self._endpoint.batch + 1)
        batch, further = found[: self._endpoint.batch], found[self._endpoint.batch :]
        made: list[tuple[Unembedded, bytes | None]] = []
        try:
            narrow = self._doubtful >= _DOUBTFUL
            if narrow:
                self._endpoint.embed([_ANY_TEXT])
            self._embed(batch, made, narrow)
        except EmbeddingsUnavailable as error:
            self._database.write(embeddings.store, name, made)
            self._wait(tasks, error)
            return False
        self._failures = self._doubtful = 0
        self._database.write(embeddings.keep, name, made, tasks, further)
        return True

    def _own(self, tasks: Sequence[Task]) -> list[Task]:
        """Those of them that are about documents; the others are dealt with."""
        own = []
        for task in tasks:
            if task.payload.get("model") != self._endpoint.name:
                self._database.write(embeddings.leave, task)
            elif "source_id" in task.payload:
                self._database.write(embeddings.split, self._endpoint.name, task)
            else:
                own.append(task)
        return own

    def _embed(
        self, batch: Sequence[Unembedded], made: list[tuple[Unembedded, bytes | None]], narrow: bool
    ) -> None:
        """Add the vectors of passages to ``made``; None for one that the endpoint refuses.

        ``narrow``: whether one that it fails at is as one that it refuses. Raises EmbeddingsUnavailable.
        """
        if not batch:
            return
        try:
            vectors = self._endpoint.embed([passage.content for passage in batch])
        except EmbeddingsUnavailable as error:
            if error.status not in REFUSALS and not (narrow and _may_be_of_text(error)):
                raise
        else:
            made += zip(batch, vectors, strict=True)
            return
        if len(batch) > 1:
            half = len(batch) // 2
            self._embed(batch[:half], made, narrow)
            self._embed(batch[half:], made, narrow)
            return
        self._endpoint.embed([_ANY_TEXT])  # it is this text that it refuses, not every one
        passage = batch[0]
        log.warning(
            "the embeddings endpoint refuses passage %d of document %s", passage.id, passage.document_id
        )
        made.append((passage, None))

    def _wait(self, tasks: Sequence[Task], error: EmbeddingsUnavailable) -> None:
        pause = min(_FIRST_PAUSE * 2**self._failures, _LONGEST_PAUSE)
        if error.pause is not None:
            pause = max(pause, error.pause)
        if not self._failures:
            log.warning("passages wait for their vectors: %s", error)
        self._failures += 1
        self._doubtful = self._doubtful + 1 if _may_be_of_text(error) else 0
        self._until = time.monotonic() + pause
        self._database.write(embeddings.put_back, tasks, pause, str(error))


def _may_be_of_text(error: EmbeddingsUnavailable) -> bool:
    """Whether the endpoint may have failed because of a text: some answer 500, or with no vector, to it."""
    return not error.timed_out and error.status not in _NO_TEXT
