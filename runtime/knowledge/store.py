"""The SQL of the knowledge base. Every query names the workspace whose it is."""

from __future__ import annotations

import heapq
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from runtime.errors import Conflict, NotFound, StaleAttempt
from runtime.knowledge import embeddings, fusion, search_postgresql, search_sqlite, words
from runtime.knowledge.meaning import Near
from runtime.knowledge.model import Document, Found, Kind, Language, Passage, Project, Source
from runtime.knowledge.tables import documents, passages, sources
from runtime.model import Run
from runtime.store.fence import guarded
from runtime.store.page import Page, decode_cursor
from runtime.store.tables import now, runs, workspaces

MOST_SOURCES = 1000
"""Sources that a workspace may have."""
MOST_DOCUMENTS = 10_000
"""Documents that a source may have."""
_REMOVED_AT_ONCE = 50
"""Documents that are removed in one transaction: more would keep everybody else from writing on SQLite."""
NO_SOURCE = "There is no such source."
_NO_DOCUMENT = "The source has no such document."
_DOCUMENT = [documents.c[name] for name in Document.__dataclass_fields__]


def create_source(
    c: Connection,
    workspace_id: str,
    user_id: str,
    name: str,
    language: Language,
    project_id: str | None = None,
    model: str | None = None,
) -> Source:
    """A source without documents. ``model``: whose vectors are counted, if any.

    Raises Conflict where the workspace has one of that name, or enough.
    """
    # So that of two who add one at once, the second counts the first one's.
    own = sa.select(workspaces.c.id).where(workspaces.c.id == workspace_id)
    c.execute(own.with_for_update(key_share=True))
    if c.execute(sa.select(sa.func.count()).where(_is_of(workspace_id))).scalar_one() >= MOST_SOURCES:
        raise Conflict(f"You have {MOST_SOURCES} sources, which is as many as you may. Delete some.")
    source_id = str(uuid.uuid4())
    values = {
        "id": source_id,
        "workspace_id": workspace_id,
        "user_id": user_id,
        "name": name,
        "project_id": project_id,
    }
    try:
        c.execute(sources.insert().values(**values, language=language, created_at=now()))
    except sa.exc.IntegrityError:
        raise Conflict("You have a source of this name already.") from None
    return get_source(c, workspace_id, source_id, model)


def get_source(c: Connection, workspace_id: str, source_id: str, model: str | None = None) -> Source:
    """A source of a workspace. ``model``: whose vectors are counted, if any. Raises NotFound."""
    row = c.execute(_sources(workspace_id, model).where(sources.c.id == source_id)).one_or_none()
    if row is None:
        raise NotFound(NO_SOURCE)
    return _source(row)


def source_named(c: Connection, workspace_id: str, name: str, project: Project | None = None) -> str:
    """The id of the source of that name; ``project``: which that sees. Raises NotFound."""
    query = sa.select(sources.c.id).where(_is_of(workspace_id), sources.c.name == name, _is_seen(project))
    found: str | None = c.execute(query).scalar_one_or_none()
    if found is None:
        raise NotFound("There is no source of this name.")
    return found


def list_sources(
    c: Connection,
    workspace_id: str,
    *,
    project_id: str | None = None,
    limit: int = 20,
    cursor: str | None = None,
    model: str | None = None,
) -> Page[Source]:
    """The sources of a workspace, by their names; of one project if that is named.

    ``model``: whose vectors are counted, if any.
    """
    query = _sources(workspace_id, model)
    if project_id is not None:
        query = query.where(sources.c.project_id == project_id)
    if cursor:
        (name,) = decode_cursor(cursor, _name_of)
        query = query.where(sources.c.name > name)
    rows = c.execute(query.order_by(sources.c.name).limit(limit + 1)).all()
    return Page.of(rows, limit, _source, lambda row: (row.name,))


def remove_some(c: Connection, workspace_id: str, source_id: str) -> bool:
    """Remove some documents of a source, and it itself once it has none; whether it is gone.

    Raises NotFound.
    """
    _lock_source(c, workspace_id, source_id)
    some = sa.select(documents.c.id).where(documents.c.source_id == source_id).limit(_REMOVED_AT_ONCE)
    if c.execute(documents.delete().where(documents.c.id.in_(some))).rowcount:
        embeddings.note_removal(c, source_id)
        return False
    c.execute(sources.delete().where(sources.c.id == source_id))
    return True


def list_documents(
    c: Connection,
    workspace_id: str,
    source_id: str,
    *,
    limit: int = 20,
    cursor: str | None = None,
) -> Page[Document]:
    """The documents of a source, by their names. Raises NotFound."""
    get_source(c, workspace_id, source_id)
    query = _documents(workspace_id, source_id)
    if cursor:
        (name,) = decode_cursor(cursor, _name_of)
        query = query.where(documents.c.name > name)
    rows = c.execute(query.order_by(documents.c.name).limit(limit + 1)).all()
    return Page.of(rows, limit, _document, lambda row: (row.name,))


def get_document(c: Connection, workspace_id: str, source_id: str, document_id: str) -> Document:
    """A document of a source. Raises NotFound."""
    row = c.execute(_documents(workspace_id, source_id).where(documents.c.id == document_id)).one_or_none()
    if row is None:
        raise NotFound(_NO_DOCUMENT)
    return _document(row)


def find_document(c: Connection, workspace_id: str, source_id: str, name: str) -> Document | None:
    """The document of that name, if the source has one. Raises NotFound where there is no such source."""
    get_source(c, workspace_id, source_id)
    row = c.execute(_documents(workspace_id, source_id).where(documents.c.name == name)).one_or_none()
    return _document(row) if row else None


def remove_document(c: Connection, workspace_id: str, source_id: str, document_id: str) -> None:
    """Remove a document and its passages. Raises NotFound."""
    _lock_source(c, workspace_id, source_id)
    gone = documents.delete().where(documents.c.id == document_id, documents.c.source_id == source_id)
    if not c.execute(gone).rowcount:
        raise NotFound(_NO_DOCUMENT)
    embeddings.note_removal(c, source_id)


@dataclass(frozen=True, slots=True)
class NewDocument:
    """What a file was read as."""

    name: str
    title: str | None
    kind: Kind
    size: int
    digest: str
    passages: Sequence[Passage]
    validator: str | None = None


def put_document(
    c: Connection,
    workspace_id: str,
    source_id: str,
    new: NewDocument,
    run: Run | None = None,
    model: str | None = None,
) -> Document:
    """Add a document to a source, or replace the one of its name with all its passages.

    ``run``: the attempt that does so; ``model``: by which its passages are to be embedded then. Raises
    NotFound, Conflict where the source has as many documents as it may, and StaleAttempt where that attempt
    is not the one that runs.
    """
    _check_running(c, run)
    language = _lock_source(c, workspace_id, source_id)
    values = {name: getattr(new, name) for name in ("name", "title", "kind", "size", "digest", "validator")}
    values |= {"passages": len(new.passages), "updated_at": now()}
    where = (documents.c.source_id == source_id, documents.c.name == new.name)
    replaced = documents.update().where(*where).values(values).returning(documents.c.id)
    document_id = c.execute(replaced).scalar_one_or_none()
    is_new = document_id is None
    if document_id is None:
        _check_room(c, source_id)
        document_id = str(uuid.uuid4())
        c.execute(documents.insert().values(id=document_id, source_id=source_id, created_at=now(), **values))
    else:
        c.execute(passages.delete().where(passages.c.document_id == document_id))
    if new.passages:
        of = {
            "workspace_id": workspace_id,
            "source_id": source_id,
            "document_id": document_id,
        }
        c.execute(
            _insert(c, workspace_id, source_id, language),
            [{**of, **_row(*one)} for one in enumerate(new.passages)],
        )
    embeddings.note_document(c, source_id, document_id, model, replaced=not is_new)
    return _document(
        c.execute(_documents(workspace_id, source_id).where(documents.c.id == document_id)).one()
    )


def put_validator(
    c: Connection, workspace_id: str, before: Document, validator: str, run: Run | None = None
) -> Document | None:
    """Have a document keep another validator; None where it is not the one that it was ``before``.

    ``run``: the attempt that does so. Raises NotFound, StaleAttempt as :func:`put_document`.
    """
    _check_running(c, run)
    _lock_source(c, workspace_id, before.source_id)
    same = documents.update().where(documents.c.id == before.id, documents.c.digest == before.digest)
    if not c.execute(same.values(validator=validator)).rowcount:
        return None
    return replace(before, validator=validator)


def read_passages(
    c: Connection,
    workspace_id: str,
    source_id: str,
    document_id: str,
    first: int,
    limit: int,
    q: str | None = None,
) -> list[Found]:
    """Passages of a document, from one on, in their order, with marks where they have words of ``q``.

    Raises NotFound where it is not there.
    """
    get_document(c, workspace_id, source_id, document_id)
    wanted = words.asked(q or "")
    query = _found(workspace_id).where(
        passages.c.document_id == document_id,
        passages.c.position >= first,
        passages.c.position < first + limit,
    )
    return [_as_found(row, wanted, 0.0) for row in c.execute(query.order_by(passages.c.position))]


def search(
    c: Connection,
    workspace_id: str,
    query: str,
    k: int,
    source_id: str | None = None,
    project: Project | None = None,
    near: Near | None = None,
) -> list[Found]:
    """The ``k`` passages of a workspace that fit best, the best first.

    They have one word of the query at least, unless ``near`` finds them by what it means. ``source_id``: of
    this source only; ``project``: of what that sees. Raises NotFound, and what ``near`` does.
    """
    source_ids = _searched(c, workspace_id, source_id, project)
    wanted = words.asked(query)
    if not wanted or source_ids == []:
        return []
    engine = search_postgresql if c.dialect.name == "postgresql" else search_sqlite
    if near is None:
        scores = engine.find(c, workspace_id, wanted, k, source_ids)
    else:
        depth = max(k, fusion.DEPTH)
        by_meaning = near(c, workspace_id, depth, source_ids)
        by_words = engine.find(c, workspace_id, wanted, depth, source_ids)
        scores = fusion.fuse((by_meaning(), sorted(by_words, key=lambda id: (-by_words[id], id))))
    return _shown(c, workspace_id, scores, k, wanted, source_ids)


def _searched(
    c: Connection, workspace_id: str, source_id: str | None, project: Project | None
) -> list[str] | None:
    """The sources that are searched; None: all of the workspace. Raises NotFound."""
    if source_id is None and project is None:
        return None
    query = sa.select(sources.c.id).where(_is_of(workspace_id), _is_seen(project))
    if source_id is not None:
        query = query.where(sources.c.id == source_id)
    found = list(c.execute(query).scalars())
    if source_id is not None and not found:
        raise NotFound(NO_SOURCE)
    return found


def _shown(
    c: Connection,
    workspace_id: str,
    scores: Mapping[int, float],
    k: int,
    wanted: Sequence[str],
    source_ids: Sequence[str] | None,
) -> list[Found]:
    """The ``k`` best passages, the best first; of these sources only."""
    # A few may be gone, or others now: vectors are kept for longer than this transaction.
    best = heapq.nlargest(2 * k, scores, key=lambda id: scores[id])
    query = _found(workspace_id).where(passages.c.id.in_(best))
    if source_ids is not None:
        query = query.where(passages.c.source_id.in_(source_ids))
    rows = sorted(c.execute(query), key=lambda row: (-scores[row.id], row.document, row.position))
    return [_as_found(row, wanted, round(scores[row.id], 6)) for row in rows[:k]]


def _found(workspace_id: str) -> sa.Select[Any]:
    return (
        sa.select(passages, sources.c.name.label("source"), documents.c.name.label("document"))
        .join(documents, documents.c.id == passages.c.document_id)
        .join(sources, sources.c.id == documents.c.source_id)
        .where(_is_of(workspace_id))
    )


def _as_found(row: Any, wanted: Sequence[str], score: float) -> Found:
    return Found(
        row.source_id,
        row.source,
        row.document_id,
        row.document,
        row.titles,
        row.position,
        row.text,
        words.marks(row.text, wanted),
        score,
    )


def _insert(c: Connection, workspace_id: str, source_id: str, language: Language) -> sa.Insert:
    searched: Any = sa.bindparam("searched", type_=sa.Text)
    if c.dialect.name == "postgresql":
        searched = search_postgresql.vector(workspace_id, source_id, language, searched)
    return passages.insert().values(words=searched)


def _row(position: int, passage: Passage) -> dict[str, Any]:
    return {
        "position": position,
        "titles": list(passage.titles),
        "text": passage.text,
        "searched": passage.words,
    }


def _check_running(c: Connection, run: Run | None) -> None:
    """Raises StaleAttempt where another attempt of the run has begun, which is locked until the end."""
    if run is None:
        return
    fence = guarded(sa.select(runs.c.id), run).with_for_update(key_share=True)
    if c.execute(fence).one_or_none() is None:
        raise StaleAttempt


def _lock_source(c: Connection, workspace_id: str, source_id: str) -> Language:
    """The language of a source, which nobody else changes until this transaction ends. Raises NotFound."""
    query = sa.select(sources.c.language).where(sources.c.id == source_id, _is_of(workspace_id))
    language = c.execute(query.with_for_update()).scalar_one_or_none()
    if language is None:
        raise NotFound(NO_SOURCE)
    return Language(language)


def _check_room(c: Connection, source_id: str) -> None:
    query = sa.select(sa.func.count()).where(documents.c.source_id == source_id)
    if c.execute(query).scalar_one() >= MOST_DOCUMENTS:
        raise Conflict(f"The source has {MOST_DOCUMENTS} documents, which is as many as it may.")


def _name_of(value: Any) -> str:
    """A cursor's value as a name. Raises ValueError."""
    if not isinstance(value, str) or "\0" in value:
        raise ValueError(value)
    return value


def _is_of(workspace_id: str) -> sa.ColumnElement[bool]:
    return sources.c.workspace_id == workspace_id


def _is_seen(project: Project | None) -> sa.ColumnElement[bool]:
    if project is None:
        return sa.true()
    return sources.c.project_id.is_(None) | (sources.c.project_id == project.id)


def _sources(workspace_id: str, model: str | None) -> sa.Select[Any]:
    mine = documents.c.source_id == sources.c.id
    last = sa.select(sa.func.max(documents.c.updated_at)).where(mine).scalar_subquery()
    return sa.select(
        sources,
        sa.func.coalesce(last, sources.c.created_at).label("updated_at"),
        (embeddings.counted(model) if model is not None else sa.null()).label("embedded"),
        sa.select(sa.func.count()).where(mine).scalar_subquery().label("documents"),
        sa.select(sa.func.coalesce(sa.func.sum(documents.c.passages), 0))
        .where(mine)
        .scalar_subquery()
        .label("passages"),
    ).where(_is_of(workspace_id))


def _documents(workspace_id: str, source_id: str) -> sa.Select[Any]:
    return (
        sa.select(*_DOCUMENT)
        .join(sources, sources.c.id == documents.c.source_id)
        .where(documents.c.source_id == source_id, _is_of(workspace_id))
    )


def _source(row: Any) -> Source:
    values = {name: getattr(row, name) for name in Source.__dataclass_fields__}
    return Source(**{**values, "language": Language(row.language)})


def _document(row: Any) -> Document:
    values = {name: getattr(row, name) for name in Document.__dataclass_fields__}
    return Document(**{**values, "kind": Kind(row.kind)})
