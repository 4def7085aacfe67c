"""The SQL of ingestions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from runtime.errors import NotFound
from runtime.knowledge.model import Ingestion
from runtime.knowledge.store import NO_SOURCE, get_source
from runtime.knowledge.tables import ingestions
from runtime.model import Role, Run
from runtime.store import messages
from runtime.store.page import Page, position_of
from runtime.store.runs import COLUMNS, record
from runtime.store.tables import now, runs, threads


def note(c: Connection, source_id: str, run: Run) -> None:
    """Note that a run adds documents to a source. Raises NotFound where that was deleted meanwhile."""
    try:
        c.execute(ingestions.insert().values(run_id=run.id, source_id=source_id, created_at=now()))
    except sa.exc.IntegrityError as error:
        raise NotFound(NO_SOURCE) from error


def listing(
    c: Connection, workspace_id: str, source_id: str, *, limit: int = 20, cursor: str | None = None
) -> Page[Ingestion]:
    """The ingestions of a source, the newest first, without those of deleted threads. Raises NotFound."""
    get_source(c, workspace_id, source_id)
    order = ingestions.c.created_at, ingestions.c.run_id
    query = (
        sa.select(*COLUMNS, *(column.label(f"by_{column.name}") for column in order))
        .join(ingestions, ingestions.c.run_id == runs.c.id)
        .join(threads, threads.c.id == runs.c.thread_id)
        .where(ingestions.c.source_id == source_id, threads.c.deleted_at.is_(None))
    )
    if cursor:
        query = query.where(sa.tuple_(*order) < position_of(cursor, *order))
    rows = c.execute(query.order_by(*(column.desc() for column in order)).limit(limit + 1)).all()
    page = Page.of(rows, limit, record, lambda row: (row.by_created_at, row.by_run_id))
    told = _told(c, page.items)
    return Page([Ingestion.of(run, told.get(run.id, {})) for run in page.items], page.next)


def _told(c: Connection, of: list[Run]) -> dict[str, Mapping[str, Any]]:
    """The data of what each run has said last of its documents, by its id."""
    by_state = {run.output_state_id: run.id for run in of}
    said = messages.of_states(c, list(by_state))
    return {
        by_state[message.state_id]: message.data
        for message in said
        if message.role == Role.ASSISTANT and "counts" in message.data
    }
