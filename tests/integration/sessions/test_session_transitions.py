"""The states of a session: legal transitions are made, once, and no other ones."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
import sqlalchemy as sa

from runtime.errors import Conflict
from runtime.sessions import store
from runtime.sessions.model import TRANSITIONS, By, Session, Status
from runtime.sessions.store import Step
from runtime.sessions.tables import LEGAL, session_transitions
from runtime.store import tables
from tests.support.session_talk import Talk
from tests.support.web import Client
from web.core import Core

pytestmark = pytest.mark.databases


@pytest.mark.parametrize("before", Status)
def test_only_legal_transitions_are_made(ada: Client, core: Core, before: Status) -> None:
    """By the store, and by whoever writes to the database past it."""
    for after in Status:
        session_id = Talk(ada, core).id
        _bring(core, session_id, before)
        if after in TRANSITIONS[before]:
            assert core.database.write(_move, session_id, after).status is after
            continue
        with pytest.raises(Conflict):
            core.database.write(_move, session_id, after)
        entry = {"session_id": session_id, "number": 99, "from_status": before, "to_status": after}
        with pytest.raises(sa.exc.IntegrityError), core.database.engine.connections.begin() as c:
            c.execute(session_transitions.insert().values(**entry, by=By.SYSTEM, created_at=tables.now()))


@pytest.mark.parametrize("before", [status for status in Status if len(TRANSITIONS[status]) > 1])
def test_of_two_who_move_it_at_once_one_wins(talk: Talk, core: Core, before: Status) -> None:
    _bring(core, talk.id, before)
    seen = core.database.read(store.find, talk.id)
    assert seen is not None
    barrier = Barrier(2)

    def move(after: Status) -> str:
        barrier.wait(10)
        try:
            core.database.write(store.move, seen, Step(after, By.PERSON))
        except Conflict:
            return "refused"
        return "made"

    with ThreadPoolExecutor(2) as threads:
        outcomes = [*threads.map(move, sorted(TRANSITIONS[before])[:2])]

    assert sorted(outcomes) == ["made", "refused"]


def _bring(core: Core, session_id: str, status: Status) -> None:
    """Bring a new session into a status by legal transitions."""
    ways: dict[Status, list[Status]] = {
        Status.INIT: [],
        Status.RUNNING: [Status.RUNNING],
        Status.WAITING: [Status.RUNNING, Status.WAITING],
        Status.STOP: [Status.RUNNING, Status.STOP],
        Status.CLOSED: [Status.CLOSED],
    }
    for step in ways[status]:
        core.database.write(_move, session_id, step)


def _move(c: Any, session_id: str, after: Status) -> Session:
    session = store.lock(c, session_id)
    assert session is not None
    return store.move(c, session, Step(after, By.SYSTEM))


def test_the_table_of_transitions_is_that_of_the_database() -> None:
    assert {f"'{a}>{b}'" for a in Status for b in TRANSITIONS[a]} == set(LEGAL.split(", "))
    assert TRANSITIONS[Status.CLOSED] == frozenset()
