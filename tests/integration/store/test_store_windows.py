"""The window of a run, on both databases: what it is given, what is counted, and what that costs."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from runtime.model import Message, MessageType, Role, Run, RunStatus, Thread, User, new_id
from runtime.sdk.window import AUTO, window
from runtime.store import Database, attempts, outbox, runs, states, threads
from runtime.store import windows as windows_module
from runtime.store.engines.postgresql import _Statement
from runtime.store.states import NewMessage
from runtime.store.windows import NO_WINDOWS, Size, Windows

SPEC = runs.RunSpec("agent", "digest", "python", {}, None, max_attempts=3, timeout_seconds=60)
LIMITS = runs.QueueLimits()


class Conversation:
    """A branch that grows by runs, and all that is stored on it."""

    def __init__(self, database: Database, user: User, thread: Thread) -> None:
        self.database = database
        self.stored: list[Message] = []
        self._user = user
        self._thread = thread
        self._tip = thread.root_state_id

    def turn(
        self,
        asked: list[NewMessage],
        answered: list[NewMessage],
        windows: Windows = NO_WINDOWS,
        window: Size | None = None,
    ) -> attempts.Claim:
        """A run of ``asked``, as it was claimed; it ends with ``answered``."""
        run = self.accept(asked, window=window)
        claim = self.claim(run, windows)
        written = [of(claim.run, position, message) for position, message in enumerate(answered)]
        self.database.engine.finish(claim.run, RunStatus.SUCCESS, attempts.AttemptResult(written))
        self._tip = run.output_state_id
        self.stored += written
        return claim

    def accept(self, asked: list[NewMessage], worker: str = "agent", window: Size | None = None) -> Run:
        """Queue a run from here."""
        spec = replace(SPEC, worker_id=worker, window=window and window.encode())
        created = self.database.engine.accept(self._thread, self._user.id, self._tip, asked, spec, LIMITS)
        self.stored += self.database.read(states.window, created.input_state.id, len(asked))
        return created.runs[0]

    def claim(self, run: Run, windows: Windows = NO_WINDOWS) -> attempts.Claim:
        """Claim it."""
        claimed = self.database.engine.claim(run.id, "pool", 10.0, {"": 200}, windows=windows)
        assert claimed is not None
        return claimed


@pytest.fixture
def talk(database: Database, user: User, thread: Thread) -> Conversation:
    return Conversation(database, user, thread)


def windows(size: int) -> Windows:
    return Windows({"agent": Size(size)})


def says(role: str, text: str, **more: Any) -> NewMessage:
    return NewMessage(Role(role), text, **more)


def auto(text: str = "Go on.") -> NewMessage:
    return says("user", text, author=AUTO)


def call(number: int) -> NewMessage:
    data = {"call_id": f"{number}", "name": "f"}
    return says("assistant", f"call {number}", type=MessageType.FUNCTION, data=data)


def result(number: int) -> NewMessage:
    return says("tool", f"result {number}", type=MessageType.FUNCTION, data={"call_id": f"{number}"})


def of(run: Run, position: int, message: NewMessage) -> Message:
    return Message(
        new_id(), run.output_state_id, position, message.role, message.content, message.type,
        message.channel, message.author, message.data, run_id=run.id, attempt=run.attempt,
    )  # fmt: skip


def contents(messages: list[Message]) -> list[str]:
    return [message.content for message in messages]


@pytest.mark.parametrize("length", [5, 10, 100, 1_000], ids=str)
def test_the_goal_comes_first_however_long_a_loop_goes_on(talk: Conversation, length: int) -> None:
    talk.turn([says("user", "The goal")], [says("assistant", "I begin.")], windows(10))
    while len(talk.stored) < length:
        number = len(talk.stored)
        talk.turn([auto()], [call(number), result(number), says("assistant", f"{number}")], windows(10))

    claim = talk.turn([auto()], [], windows(10))

    before = len(talk.stored)
    assert contents(claim.messages)[0] == "The goal"
    assert contents(claim.messages) == contents(window(talk.stored, 10))
    if before <= 10:
        assert claim.run.window is None
    else:
        given = len(claim.messages)
        assert claim.run.window == {
            "size": 10, "given": given, "left_out": before - given, "goal": [claim.messages[0].id],
            "pinned": None, "system": [], "summary": None,
        }  # fmt: skip
    stored = talk.database.engine.get_run(claim.run.workspace_id, claim.run.id)
    assert stored.window == claim.run.window
    assert stored.encode()["window"] == (stored.window and {**stored.window, "summed_up": 0})


@pytest.mark.parametrize("seed", range(8), ids=str)
def test_a_window_from_the_database_is_that_of_the_whole_conversation(talk: Conversation, seed: int) -> None:
    choice = random.Random(seed)
    open_calls: list[int] = []
    for number in range(40):
        asked = [
            choice.choice([auto(f"auto {number}"), says("user", f"{number}"), says("system", f"s {number}")])
            for _ in range(choice.randrange(1, 3))
        ]
        answered = [says("assistant", f"begins {number}")]
        for step in range(choice.randrange(6)):
            kind = choice.randrange(3)
            if kind == 0:
                open_calls.append(number * 100 + step)
                answered.append(call(open_calls[-1]))
            elif kind == 1 and open_calls:
                answered.append(result(open_calls.pop(choice.randrange(len(open_calls)))))
            else:
                answered.append(says("assistant", f"text {number} {step}"))
        size = choice.choice([1, 3, 10, 30])
        worker = choice.choice(["agent", "agent", "another"])

        run = talk.accept(asked, worker)
        everything = list(talk.stored)
        claim = talk.claim(run, windows(size))
        written = [of(claim.run, place, message) for place, message in enumerate(answered)]
        talk.database.engine.finish(claim.run, RunStatus.SUCCESS, attempts.AttemptResult(written))
        talk.stored += written
        talk._tip = run.output_state_id

        if worker == "another":
            assert claim.run.window is None
            assert contents(claim.messages) == contents(everything[-200:])
            continue
        expected = window(everything, size)
        assert contents(claim.messages) == contents(expected)
        left_out = len(everything) - len(expected)
        assert (claim.run.window or {"left_out": 0})["left_out"] == left_out


def test_each_attempt_of_a_run_is_given_the_same(talk: Conversation) -> None:
    talk.turn([says("user", "The goal")], [says("assistant", f"{n}") for n in range(8)])
    run = talk.accept([auto()])
    first = talk.claim(run, windows(3))
    assert first.run.window is not None and first.run.window["left_out"] == 6
    talk.database.write(attempts.hand_back, first.run, attempts.AttemptResult([]))

    second = talk.claim(run, windows(30))

    assert second.run.attempt == 2
    assert (second.run.window, second.messages) == (first.run.window, first.messages)


def test_what_is_asked_for_a_run_beats_what_its_worker_says(talk: Conversation) -> None:
    talk.turn([says("user", "Pinned")], [says("assistant", "yes")], windows(1))
    talk.turn([says("user", "The goal")], [says("assistant", f"{n}") for n in range(8)], windows(1))
    pinned, goal = talk.stored[0].id, talk.stored[2].id

    asked = talk.turn([auto()], [], windows(5), window=Size(2))
    assert contents(asked.messages) == ["The goal", "7", "Go on."]
    asked = talk.turn([auto()], [], NO_WINDOWS, window=Size(2, pinned))
    assert contents(asked.messages) == ["Pinned", "Go on.", "Go on."]
    assert asked.run.window == {
        "size": 2, "pinned": pinned, "given": 3, "left_out": 10, "goal": [goal], "system": [],
        "summary": None,
    }  # fmt: skip
    asked = talk.turn([auto()], [], window=Size(1, new_id()))
    assert contents(asked.messages) == ["The goal", "Go on."]
    asked = talk.turn([auto()], [], window=Size(50))
    assert contents(asked.messages) == contents(talk.stored)
    assert (asked.run.window, asked.run.encode()["window"]) == (
        {"size": 50, "pinned": None, "summary": None},
        None,
    )


def test_no_call_and_no_message_of_another_thread_is_a_goal(
    talk: Conversation, database: Database, user: User
) -> None:
    another = database.write(threads.create, workspace_id=user.workspace_id, user_id=user.id)
    theirs = Conversation(database, user, another)
    theirs.turn([says("user", "Theirs")], [])
    talk.turn([says("user", "Goal")], [call(1), result(1), says("assistant", "so")])
    for pinned in (theirs.stored[0].id, talk.stored[1].id, talk.stored[2].id):
        claim = talk.turn([auto()], [], window=Size(1, pinned))
        assert contents(claim.messages) == ["Goal", "Go on."]


def test_windows_are_bounded(talk: Conversation) -> None:
    talk.turn([says("user", "The goal")], [says("assistant", f"{n}") for n in range(150)])
    claim = talk.turn([auto()], [], Windows({"agent": Size(5_000)}, most=100))
    assert len(claim.messages) == 101
    assert claim.run.window is not None and claim.run.window["size"] == 100


@contextmanager
def statements(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What is executed, by SQLAlchemy and past it."""
    executed: list[str] = []
    execute = _Statement._execute

    def noted(self: _Statement, c: Any, parameters: Any) -> Any:
        executed.append(self._sql.decode())
        return execute(self, c, parameters)

    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        executed.append(statement)

    with monkeypatch.context() as patch:
        patch.setattr(_Statement, "_execute", noted)
        sa.event.listen(sa.Engine, "before_cursor_execute", note)
        try:
            yield executed
        finally:
            sa.event.remove(sa.Engine, "before_cursor_execute", note)


def test_a_run_without_a_window_costs_no_further_statement_and_one_with_it_few(
    talk: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(30):
        talk.turn([says("user", f"{number}")], [says("assistant", "yes")])
    workers = ("another", *["agent"] * 4)
    plain, short, slid, goal_slid, again = (talk.accept([auto()], worker) for worker in workers)

    def cost(run: Run, windows: Windows) -> list[str]:
        with statements(talk.database, monkeypatch) as executed:
            talk.claim(run, windows)
        return [one for one in executed if not one.startswith(("BEGIN", "COMMIT"))]

    assert cost(plain, windows(10)) == cost(short, NO_WINDOWS)
    base = len(cost(talk.accept([auto()]), NO_WINDOWS))
    assert len(cost(slid, windows(10))) == base + 2
    assert len(cost(goal_slid, windows(1))) == base + 3
    assert len(cost(again, windows(90))) == base


def test_the_end_of_a_run_costs_more_only_where_a_worker_sums_up_what_it_was_not_given(
    talk: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(10):
        talk.turn([says("user", f"{number}")], [says("assistant", "yes")])

    def cost(rules: Windows) -> list[str]:
        run = talk.claim(talk.accept([auto()]), rules).run
        with statements(talk.database, monkeypatch) as executed:
            talk.database.engine.finish(run, RunStatus.SUCCESS, attempts.AttemptResult())
        return executed

    plain = cost(NO_WINDOWS)
    assert talk.database.engine.name == "sqlite" or len(plain) == 1
    assert cost(windows(5)) == plain
    assert cost(Windows({"agent": Size(90, summary="scribe")})) == plain, "nothing was left out"
    assert talk.database.read(outbox.counts) == []
    summed_up = cost(Windows({"agent": Size(5, summary="scribe")}))
    assert [one for one in summed_up if "outbox" in one.partition("(")[0]] == summed_up[-1:]
    assert talk.database.read(outbox.counts) == [outbox.Waiting("summary", due=1, dead=0)]


def test_a_run_that_is_given_a_summary_costs_one_statement_more(
    talk: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(10):
        talk.turn([says("user", f"{number}")], [says("assistant", "yes")])
    slid, summed_up = talk.accept([auto()]), talk.accept([auto()])

    def cost(run: Run, summary: str | None) -> int:
        with statements(talk.database, monkeypatch) as executed:
            talk.claim(run, Windows({"agent": Size(10, summary=summary)}))
        return len(executed)

    assert cost(summed_up, "scribe") == cost(slid, None) + 1


def test_a_long_conversation_is_looked_through_once(
    talk: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk.turn([says("user", "The goal")], [says("assistant", "yes")], windows(3))
    for _ in range(40):
        talk.turn([auto()], [says("assistant", "on")], windows(3))

    walked: list[int] = []
    behind = windows_module._behind

    def noted(execute: windows_module.Execute, *arguments: Any) -> Any:
        def note(statement: Any, parameters: Any) -> Any:
            rows = execute(statement, parameters)
            walked.append(len(rows))
            return rows

        return behind(note, *arguments)

    monkeypatch.setattr(windows_module, "_behind", noted)
    claim = talk.turn([auto()], [], windows(3))
    assert claim.run.window is not None and claim.run.window["left_out"] == len(talk.stored) - 4
    assert walked == [2]


def test_a_goal_that_is_too_far_back_is_not_looked_for(
    talk: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk.turn([says("user", "The goal")], [says("assistant", "yes")])
    for _ in range(10):
        talk.turn([auto()], [says("assistant", "on")])
    monkeypatch.setattr(windows_module, "FARTHEST", 5)

    claim = talk.turn([auto()], [], windows(3))

    assert contents(claim.messages) == ["Go on.", "on", "Go on."]
    assert claim.run.window is not None
    assert (claim.run.window["goal"], claim.run.window["left_out"]) == ([], 2)
