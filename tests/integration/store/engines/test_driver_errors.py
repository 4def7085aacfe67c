"""Whatever error a driver or SQLAlchemy raises, an engine raises StoreUnavailable or that error itself."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from sqlalchemy import exc

from runtime.errors import StoreUnavailable
from runtime.model import RunStatus, Thread, User, new_id
from runtime.store import Database, attempts, pools, runs, threads
from runtime.store.engines.failures import is_away
from tests.integration.store.engines.test_engines import LIMITS, MESSAGES, SPEC
from tests.support.failures import database_errors, dealt, raised_by_the_driver


@pytest.fixture
def run(database: Database, user: User, thread: Thread) -> runs.Run:
    """A run that a pool executes."""
    created = database.engine.accept(thread, user.id, thread.root_state_id, MESSAGES, SPEC, LIMITS)
    claim = database.engine.claim(created.runs[0].id, "a pool", 10, {"": 200})
    assert claim is not None
    return claim.run


def test_an_ended_connection_is_unavailable_and_a_fault_of_ours_stays_itself(
    database: Database, user: User, thread: Thread, run: runs.Run
) -> None:
    steps: dict[str, Callable[[], object]] = {
        "read": lambda: database.read(threads.get, thread.workspace_id, thread.id),
        "snapshot": lambda: database.snapshot(threads.get, thread.workspace_id, thread.id),
        "write": lambda: database.write(pools.report, "python", "a pool", 2, {}),
        "get": lambda: database.engine.get_run(run.workspace_id, run.id),
        "accept": lambda: database.engine.accept(
            thread, user.id, thread.root_state_id, MESSAGES, SPEC, LIMITS
        ),
        "claim": lambda: database.engine.claim(new_id(), "a pool", 10, {"": 200}),
        "publish": lambda: database.engine.claim_for_publish("python", 10),
        "finish": lambda: database.engine.finish(run, RunStatus.SUCCESS, attempts.AttemptResult()),
    }
    wrong = []
    for error, (name, step) in dealt(database_errors(), steps.items()):
        with raised_by_the_driver(error):
            raised = _raised_by(step)
        if isinstance(raised, StoreUnavailable) is not is_away(error):
            wrong.append((name, error, raised))

    assert wrong == []
    assert database.engine.get_run(run.workspace_id, run.id).status is RunStatus.RUNNING


@pytest.mark.parametrize("database", ["postgresql", "postgresql-general"], indirect=True)
def test_a_server_that_ends_every_connection_at_once_is_unavailable(
    database: Database, run: runs.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pool is given ended connections twice in a row, and has an error of its own for that."""
    monkeypatch.setattr("runtime.store.engines.postgresql_connection.ended", lambda _: True)

    with pytest.raises(StoreUnavailable):
        database.engine.get_run(run.workspace_id, run.id)
    with pytest.raises(StoreUnavailable):
        database.read(runs.find, run.id)

    monkeypatch.undo()
    assert database.engine.get_run(run.workspace_id, run.id).id == run.id


@pytest.mark.parametrize("database", ["postgresql", "postgresql-general"], indirect=True)
def test_a_connection_that_ends_within_a_transaction_is_unavailable_whatever_follows(
    database: Database, run: runs.Run, postgresql_url: str
) -> None:
    def terminated(c: runs.Connection) -> object:
        pid = c.exec_driver_sql("SELECT pg_backend_pid()").scalar()
        with psycopg.connect(postgresql_url, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        try:
            return runs.find(c, run.id)
        except exc.DBAPIError:
            return runs.find(c, run.id)  # its connection is gone, which SQLAlchemy says in its own way

    with pytest.raises(StoreUnavailable):
        database.write(terminated)
    assert database.read(runs.find, run.id) is not None


def _raised_by(step: Callable[[], object]) -> Exception | None:
    try:
        step()
    except Exception as error:
        return error
    return None
