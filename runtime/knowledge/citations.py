"""The passages that answers cite: all that the holder of a token for some threads reads of the documents.

An answer names its passages in the ``sources`` of its message's data, as ``workers/rag_agent`` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from runtime.errors import NotFound
from runtime.knowledge.model import Found
from runtime.model import Role
from runtime.store.tables import messages, queued_messages, states, threads


@dataclass(frozen=True, slots=True)
class Citation:
    """A passage of a document, as an answer has it."""

    position: int
    text: str

    def is_of(self, passage: Found) -> bool:
        """Whether it is this passage, and not the one in its place since the document has changed."""
        return passage.position == self.position and self.text in passage.text


def cited(c: Connection, of: sa.Select[tuple[str]], document_id: str, found: Sequence[Found]) -> list[Found]:
    """Those among passages of a document that are cited in these threads, or in those of their sub-runs.

    Raises NotFound where nothing of the document is. Only what runs have written counts: who writes into a
    thread could name any passage.
    """
    there = set(_citations(c, of, document_id))
    if not there:
        raise NotFound
    return [passage for passage in found if any(citation.is_of(passage) for citation in there)]


def _citations(c: Connection, of: sa.Select[tuple[str]], document_id: str) -> Iterator[Citation]:
    for (data,) in c.execute(_answers(of, document_id)):
        sources = data.get("sources")
        for source in sources if isinstance(sources, list) else ():
            if isinstance(source, dict) and source.get("document_id") == document_id:
                yield from _citation(source)


def _citation(source: dict[str, Any]) -> Iterator[Citation]:
    position, text = source.get("position"), source.get("text")
    if isinstance(position, int) and isinstance(text, str) and text.strip():
        yield Citation(position, text)


def _answers(of: sa.Select[tuple[str]], document_id: str) -> sa.Select[tuple[Any]]:
    """The data of what runs have written in these threads about a document."""
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
    )
