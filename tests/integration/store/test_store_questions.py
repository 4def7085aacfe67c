"""Questions of sub-runs in the database, on both kinds: none is asked for longer than its sub-run asks it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from runtime.errors import Conflict
from runtime.model import Message, MessageType, Role, Run, RunStatus, User, new_id
from runtime.store import (
    Database,
    attempts,
    calls,
    messages,
    runs,
    states,
    threads,
    users,
)

LEASE = 10.0
POOL = "python@here-1"
SPEC = runs.RunSpec("echo", "digest", "python", {}, None, max_attempts=3, timeout_seconds=60)
LIMITS = calls.CallLimits(depth=5, in_all=100)


@pytest.fixture
def user(database: Database) -> User:
    return database.write(users.register, email="ann@example.com", password_hash="x")


@pytest.fixture
def line(database: Database, user: User) -> Callable[[int], list[Run]]:
    """Runs one below the other, that all run; the first one is a client's."""

    def line(depth: int) -> list[Run]:
        thread = database.write(threads.create, workspace_id=user.workspace_id, user_id=user.id)
        said = [states.NewMessage(Role.USER, "hi")]
        root = database.engine.accept(
            thread, user.id, thread.root_state_id, said, SPEC, runs.QueueLimits()
        ).runs[0]
        made = [claim(database, root)]
        for _ in range(depth):
            called = database.write(calls.create, made[-1], "a", "d", [], SPEC, LIMITS)
            assert called is not None
            made.append(claim(database, called.run))
        return made

    return line


def claim(database: Database, run: Run) -> Run:
    claimed = database.engine.claim(run.id, POOL, LEASE, {"": 200})
    assert claimed is not None
    return claimed.run


def now_is(database: Database, run: Run) -> Run:
    found = database.read(runs.find, run.id)
    assert found is not None
    return found


def ask(database: Database, run: Run, below: Run | None = None, question: str | None = None) -> Run:
    """The run asks its user, for the run below it by the message ``question``, or for itself."""
    message = Message(
        new_id(), run.output_state_id, 0, Role.ASSISTANT, "Sure?", MessageType.CONFIRMATION,
        data={"id": "q"}, run_id=run.id, attempt=run.attempt,
    )  # fmt: skip
    asked: dict[str, Any] = {"id": "q", "prompt": "Sure?", "message_id": message.id}
    if below is not None:
        asked |= {"run_id": below.id, "digest": question}
    return database.write(attempts.wait, run, asked, attempts.AttemptResult([message]))


def ask_upwards(database: Database, line: list[Run]) -> list[Run]:
    """The lowest one asks, and each above it asks the same."""
    asking = [ask(database, line[-1])]
    for run in reversed(line[:-1]):
        below = asking[0]
        asking.insert(0, ask(database, run, below, (below.confirmation or {})["message_id"]))
    assert [run.status for run in asking] == [RunStatus.WAITING] * len(line)
    return asking


def told(database: Database, run: Run) -> dict[str, Any]:
    """What the message says with which the run has asked."""
    [message] = database.read(messages.of_state, run.output_state_id)
    return {name: value for name, value in message.data.items() if name != "id"}


@pytest.mark.parametrize("lowest", [1, 2, 3])
def test_a_cancelled_sub_run_takes_its_question_back_from_all_above_it(database, line, user, lowest):
    asking = ask_upwards(database, line(3))

    done = database.write(runs.cancel, user.workspace_id, asking[lowest].id)

    assert [run.id for run in done.released] == [run.id for run in reversed(asking[:lowest])]
    for run in asking[:lowest]:
        now = now_is(database, run)
        assert (now.status, now.confirmation, now.published_at) == (
            RunStatus.QUEUED,
            None,
            None,
        )
        assert (now.answers[-1]["confirmation_id"], now.answers[-1]["withdrawn"]) == (
            "q",
            True,
        )
        assert told(database, run) == {"withdrawn": True}
        with pytest.raises(Conflict, match="was withdrawn"):
            database.write(calls.answer, user.workspace_id, run.id, "q", "yes")
        [earlier] = database.engine.claim(run.id, POOL, LEASE, {"": 200}).earlier
        assert earlier.content == "Sure?"
    for run in asking[lowest:]:
        assert now_is(database, run).status is RunStatus.CANCELLED


def test_a_cancelled_sub_run_leaves_what_does_not_wait_for_it(database, line, user):
    top, middle, lowest = line(2)
    asked = ask(database, lowest)
    other = ask(database, top)

    done = database.write(runs.cancel, user.workspace_id, asked.id)

    assert done.released == []
    assert now_is(database, middle).status is RunStatus.RUNNING
    assert now_is(database, other).status is RunStatus.WAITING


def test_the_question_of_a_sub_run_that_has_ended_is_not_asked(database, line, user):
    top, below = line(1)
    question = (ask(database, below).confirmation or {})["message_id"]
    database.write(runs.cancel, user.workspace_id, below.id)

    asked = ask(database, top, below, question)

    assert (asked.status, asked.answers[-1]["withdrawn"]) == (RunStatus.QUEUED, True)
    assert told(database, top) == {"withdrawn": True}
    assert claim(database, asked).attempt == 2


def test_a_question_that_was_answered_meanwhile_is_not_asked_again(database, line, user):
    top, below = line(1)
    question = (ask(database, below).confirmation or {})["message_id"]
    database.write(calls.answer, user.workspace_id, below.id, "q", "yes")

    asked = ask(database, top, below, question)

    assert (asked.status, asked.answers[-1]["answer"]) == (RunStatus.QUEUED, "yes")
    assert told(database, top) == {"answer": "yes"}


@pytest.mark.parametrize("named", ["nothing", "01900000-0000-7000-8000-000000000000", 7])
def test_a_question_of_a_sub_run_that_is_not_there_is_the_runs_own(database, line, user, named):
    [top] = line(0)
    asked = {"id": "q", "prompt": "Sure?", "message_id": None, "run_id": named}

    waiting = database.write(attempts.wait, top, asked, attempts.AttemptResult())

    assert (waiting.status, "run_id" in (waiting.confirmation or {})) == (
        RunStatus.WAITING,
        False,
    )
    [answered] = database.write(calls.answer, user.workspace_id, top.id, "q", "yes")
    assert answered.answers[-1]["answer"] == "yes"


def test_a_run_that_is_to_end_asks_nothing(database, line, user):
    top, below = line(1)
    database.write(runs.cancel, user.workspace_id, top.id)

    assert ask(database, top, below).status is RunStatus.CANCELLED


@pytest.mark.parametrize("round", range(5))
def test_nobody_waits_for_ever_whoever_is_first(database, line, user, round):
    """The caller asks while its sub-run is cancelled, and while somebody answers."""
    top, middle, lowest = line(2)
    asked = ask(database, lowest)
    question = (asked.confirmation or {})["message_id"]
    ready = threading.Barrier(3)

    def ask_above() -> None:
        ready.wait()
        waiting = ask(database, middle, lowest, question)
        ask(database, top, middle, (waiting.confirmation or {}).get("message_id"))

    def cancel() -> None:
        ready.wait()
        database.write(runs.cancel, user.workspace_id, lowest.id)

    def answer() -> None:
        ready.wait()
        try:
            database.write(calls.answer, user.workspace_id, lowest.id, "q", "yes")
        except Conflict:
            pass

    with ThreadPoolExecutor(3) as executor:
        for future in [executor.submit(step) for step in (ask_above, cancel, answer)]:
            future.result()

    assert now_is(database, lowest).status is RunStatus.CANCELLED
    assert [now_is(database, run).status for run in (top, middle)] == [RunStatus.QUEUED] * 2
