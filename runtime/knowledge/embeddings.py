"""The SQL of vectors: which passages need one, and what is stored.

A document that is committed leaves a task in the outbox, in the same transaction. A passage that has the
vector of another model, or none, is found by its words meanwhile.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from runtime.knowledge.tables import documents, embeddings, passages, sources
from runtime.model import Json
from runtime.store import outbox
from runtime.store.dialects import upsert
from runtime.store.outbox import Task
from runtime.store.tables import outbox as outbox_table

EMBED = "knowledge.embed"
"""The kind of a task: have the passages of a document embedded."""
_GATHERED = 0.3
"""Seconds until such a task is due: documents that are added together go into one request."""
_AT_ONCE = 200
"""Tasks that are made in one transaction."""
_LEFT, _LEFT_ALONE = 3600.0, 10.0
"""Seconds for which a task is kept whose model is that of other processes, and between two looks at it."""
_STORE: Mapping[str, Any] = upsert(embeddings, "passage_id", ("source_id", "model", "version", "vector"))


@dataclass(frozen=True, slots=True)
class Unembedded:
    """A passage without a vector of the present model."""

    id: int
    document_id: str
    source_id: str
    titles: Sequence[str]
    text: str

    @property
    def content(self) -> str:
        """What is embedded: also what its headings say that it is about."""
        return "\n".join((" > ".join(self.titles), self.text)) if self.titles else self.text


def note_document(
    c: Connection, source_id: str, document_id: str, model: str | None, *, replaced: bool
) -> None:
    """Have the passages of a document embedded once this transaction is committed.

    ``model``: None where there is none; the document is embedded as soon as there is one. ``replaced``:
    whether it had passages before.
    """
    if replaced:
        note_removal(c, source_id)
    if model is not None:
        _put(c, model, {"document_id": document_id})
    else:
        was = (sources.c.id == source_id, sources.c.embedded_by.is_not(None))
        c.execute(sources.update().where(*was).values(embedded_by=None))


def note_removal(c: Connection, source_id: str) -> None:
    """A source has lost passages."""
    c.execute(_raised(source_id))


def note_model(c: Connection, model: str) -> bool:
    """Have the passages embedded of sources that are not by this model; whether there were any."""
    other = sources.c.embedded_by.is_(None) | (sources.c.embedded_by != model)
    # In the order in which vectors are stored, so that no two transactions wait for each other.
    some = sa.select(sources.c.id).where(other).order_by(sources.c.id).limit(_AT_ONCE).with_for_update()
    found = c.execute(some).scalars().all()
    c.execute(sources.update().where(sources.c.id.in_(found)).values(embedded_by=model))
    for source_id in found:
        _put(c, model, {"source_id": source_id})
    return bool(found)


def are_wanted(c: Connection) -> bool:
    """Whether there are tasks that have something embedded."""
    return bool(c.execute(sa.select(sa.exists().where(outbox_table.c.kind == EMBED))).scalar())


def missing(c: Connection, model: str) -> list[str]:
    """The ids of some documents that have passages without a vector of this model.

    They were added by a process of another model, or that has put its vectors in the place of those. What a
    later model has taken over is left to it.
    """
    known = (embeddings.c.passage_id == passages.c.id) & (embeddings.c.model == model)
    not_of_another = sources.c.embedded_by.is_(None) | (sources.c.embedded_by == model)
    found = c.execute(
        sa.select(passages.c.document_id)
        .distinct()
        .join(sources, sources.c.id == passages.c.source_id)
        .outerjoin(embeddings, known)
        .where(not_of_another, embeddings.c.passage_id.is_(None))
        .limit(_AT_ONCE)
    )
    return list(found.scalars())


def note_documents(c: Connection, model: str, document_ids: Sequence[str]) -> None:
    """Have these documents embedded."""
    for document_id in document_ids:
        _put(c, model, {"document_id": document_id})


def forget_tasks(c: Connection) -> None:
    """There is no endpoint any more. Once there is one again, everything is looked through."""
    if c.execute(outbox_table.delete().where(outbox_table.c.kind == EMBED)).rowcount:
        c.execute(sources.update().where(sources.c.embedded_by.is_not(None)).values(embedded_by=None))


def note_source(c: Connection, model: str, source_id: str, after: str | None) -> None:
    """Have the documents of a source embedded, some of them now: those whose ids follow ``after``."""
    query = sa.select(documents.c.id).where(documents.c.source_id == source_id)
    if after is not None:
        query = query.where(documents.c.id > after)
    some = c.execute(query.order_by(documents.c.id).limit(_AT_ONCE)).scalars().all()
    note_documents(c, model, some)
    if len(some) == _AT_ONCE:
        _put(c, model, {"source_id": source_id, "after": some[-1]})


def unembedded(c: Connection, model: str, document_ids: Sequence[str], limit: int) -> list[Unembedded]:
    """Passages of documents that have no vector of this model, in the order of the documents."""
    known = (embeddings.c.passage_id == passages.c.id) & (embeddings.c.model == model)
    query = (
        sa.select(
            passages.c.id, passages.c.document_id, passages.c.source_id, passages.c.titles, passages.c.text
        )
        .outerjoin(embeddings, known)
        .where(passages.c.document_id.in_(document_ids), embeddings.c.passage_id.is_(None))
        .order_by(passages.c.document_id, passages.c.position)
        .limit(limit)
    )
    return [Unembedded(*row) for row in c.execute(query)]


def store(c: Connection, model: str, vectors: Sequence[tuple[Unembedded, bytes | None]]) -> None:
    """Keep the vectors of passages that are still as they were; None: the model refuses this one."""
    by_source: dict[str, list[tuple[Unembedded, bytes | None]]] = defaultdict(list)
    for passage, vector in vectors:
        by_source[passage.source_id].append((passage, vector))
    for source_id, some in sorted(by_source.items()):
        version = c.execute(_raised(source_id).returning(sources.c.vectors_version)).scalar_one_or_none()
        # On SQLite the id of a passage that is gone may be another one's now.
        query = sa.select(passages.c.id, passages.c.titles, passages.c.text).where(
            passages.c.source_id == source_id, passages.c.id.in_([passage.id for passage, _ in some])
        )
        now = {row.id: (row.titles, row.text) for row in c.execute(query)}
        rows = [
            {"passage_id": passage.id, "source_id": source_id, "model": model, "version": version}
            | {"vector": vector}
            for passage, vector in some
            if now.get(passage.id) == (passage.titles, passage.text)
        ]
        if rows:
            c.execute(_STORE[c.dialect.name], rows)


def split(c: Connection, model: str, task: Task) -> None:
    """Make tasks of one that is about all documents of a source."""
    note_source(c, model, task.payload["source_id"], task.payload.get("after"))
    outbox.done(c, task)


def keep(
    c: Connection,
    model: str,
    vectors: Sequence[tuple[Unembedded, bytes | None]],
    tasks: Sequence[Task],
    further: Sequence[Unembedded],
) -> None:
    """Store vectors, and end the tasks of documents that have all of theirs; ``further`` are without."""
    store(c, model, vectors)
    # They are in the order of the documents: of those before the first one, none is left.
    left = min((passage.document_id for passage in further), default=None)
    for task in tasks:
        if left is None or task.payload["document_id"] < left:
            outbox.done(c, task)
        else:
            outbox.put_back(c, task, 0.0, "The passages of other documents go first.")


def leave(c: Connection, task: Task) -> None:
    """Leave a task to a process that has its model, unless there has been none for long."""
    age = datetime.now(UTC) - task.created_at
    if age.total_seconds() > _LEFT:
        outbox.done(c, task)
    else:
        outbox.put_back(c, task, _LEFT_ALONE, f"It is for the model {task.payload.get('model')}.")


def put_back(c: Connection, tasks: Sequence[Task], pause: float, why: str) -> None:
    """The endpoint has to be asked later."""
    for task in tasks:
        outbox.put_back(c, task, pause, why)


def counted(model: str) -> sa.ScalarSelect[int]:
    """How many passages of a source have a vector of this model, as a column of a query for sources."""
    of = (embeddings.c.source_id == sources.c.id) & (embeddings.c.model == model)
    return sa.select(sa.func.count()).where(of).scalar_subquery()


def _put(c: Connection, model: str, payload: Mapping[str, Json]) -> None:
    """Each time it is another task: one that is under way may have read what was before."""
    outbox.put(c, EMBED, str(uuid.uuid4()), {**payload, "model": model}, delay=_GATHERED)


def _raised(source_id: str) -> sa.Update:
    """Give the vectors of a source another version, which nobody else does until this transaction ends."""
    raised = sources.update().where(sources.c.id == source_id)
    return raised.values(vectors_version=sources.c.vectors_version + 1)
