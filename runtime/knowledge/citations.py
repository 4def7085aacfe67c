"""The passages that answers cite: all that the holder of a token for some threads reads of the documents.

An answer names its passages in the ``sources`` of its message's data, as ``workers/rag_agent`` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from runtime.errors import NotFound
from runtime.knowledge.model import Found
from runtime.model import Role
from runtime.store.tables import messages, queued_messages, states, threads

_READ_AT_ONCE = 50
"""Answers; their data can be large."""


def cited(c: Connection, of: sa.Select[tuple[str]], document_id: str, found: Sequence[Found]) -> list[Found]:
    """Those among passages of a document that are cited in these threads, or in those of their sub-runs.

    By their whole text: what is in the place of a passage since the document has changed is another one.
    Raises NotFound where nothing of the document is. Only what runs have written counts: who writes into a
    thread could name any passage. ``c``: of a snapshot, for answers are read piece by piece.
    """
    others = {(passage.position, passage.text) for passage in found}
    is_cited = False
    with c.execute(_answers(of, document_id), execution_options={"yield_per": _READ_AT_ONCE}) as answers:
        for (data,) in answers:
            for citation in _citations(data, document_id):
                is_cited = True
                others.discard(citation)
            if is_cited and not others:
                break
    if not is_cited:
        raise NotFound
    return [passage for passage in found if (passage.position, passage.text) not in others]


def _citations(data: Mapping[str, Any], document_id: str) -> Iterator[tuple[int, str]]:
    """The positions and texts of what an answer cites of a document."""
    sources = data.get("sources")
    for source in sources if isinstance(sources, list) else ():
        if isinstance(source, dict) and source.get("document_id") == document_id:
            position, text = source.get("position"), source.get("text")
            if type(position) is int and isinstance(text, str) and text.strip():
                yield position, text


def _answers(of: sa.Select[tuple[str]], document_id: str) -> sa.Select[tuple[Any]]:
    """The data of what runs have written in these threads about a document, the newest first."""
    called = sa.select(threads.c.id).where(threads.c.called_from.in_(of))
    there = sa.select(threads.c.id).where(
        threads.c.id.in_(sa.union(of, called).subquery().select()), threads.c.deleted_at.is_(None)
    )
    return (
        sa.select(messages.c.data)
        .join(states, states.c.id == messages.c.state_id)
        .where(
            states.c.thread_id.in_(there),
            messages.c.run_id == states.c.run_id,
            messages.c.role == Role.ASSISTANT,
            messages.c.void.is_(sa.false()),
            ~sa.exists().where(queued_messages.c.id == messages.c.id),
            sa.cast(messages.c.data, sa.Text).contains(document_id),
        )
        .order_by(messages.c.id.desc())
    )
