"""The figures of all runs: found by one, kept for all, and never less than before."""

from __future__ import annotations

from dataclasses import replace

from runtime.model import RunError, RunStatus, Thread, User, new_id
from runtime.store import Database, attempts, figures, runs, states, threads
from runtime.store.figures import Figures

SPEC = runs.RunSpec("echo", "digest", "python", {}, None, max_attempts=3, timeout_seconds=60)
FAILED = RunError("timeout", "Too late.")


def run_once(database: Database, thread: Thread, user: User, error: RunError | None = None) -> None:
    """A run of the thread that has ended."""
    start = (thread, user.id, thread.root_state_id, [states.NewMessage("user", "hi")], SPEC)
    [run] = database.write(runs.create, *start, published=False).runs
    running = database.engine.claim(run.id, "pool", 10.0, {"": 200}).run
    status = RunStatus.TIMEOUT if error else RunStatus.SUCCESS
    database.engine.finish(running, status, attempts.AttemptResult(first_delta=0.0), error=error)


def found(database: Database) -> Figures:
    [of_worker] = database.snapshot(figures.find).values()
    return of_worker


def test_the_figures_of_erased_runs_stay(database: Database, user: User, thread: Thread) -> None:
    other = database.write(threads.create, workspace_id=user.workspace_id, user_id=user.id)
    for of in (thread, thread, other):
        run_once(database, of, user, FAILED if of is thread else None)
    before = found(database)
    assert (before.attempts, before.errors, before.first_deltas.within[-1]) == (3, {"timeout": 2}, 3)

    for erased in (thread, other):
        database.write(threads.delete, user.workspace_id, erased.id)
        database.write(threads.empty_trash, user.workspace_id)
        assert database.write(threads.purge, 30.0) == 1

        left = {"success": 1} if erased is thread else {}
        assert found(database) == replace(before, statuses=left)


def test_one_process_at_a_time_finds_the_figures(database: Database, user: User, thread: Thread) -> None:
    one, two, three = new_id(), new_id(), new_id()
    run_once(database, thread, user)
    assert database.read(figures.kept) == ({}, True)

    assert database.write(figures.claim, one)
    assert not database.write(figures.claim, two), "one is at it"
    assert database.read(figures.kept) == ({}, False)
    first = database.snapshot(figures.find)
    database.write(figures.keep, one, first, -1.0)
    assert database.read(figures.kept) == (first, True)

    run_once(database, thread, user)
    assert database.write(figures.claim, two)
    database.write(figures.keep, two, database.snapshot(figures.find), -1.0)
    assert database.write(figures.claim, three)
    database.write(figures.keep, three, third := database.snapshot(figures.find), 60.0)
    database.write(figures.keep, two, first, 60.0)  # which has taken so long that another has begun
    assert database.read(figures.kept) == (third, False)
