"""What of a conversation a run with a window is given: the newest messages, and the goal before them.

:func:`runtime.sdk.window.window` decides which messages those are; this finds them without
reading the whole conversation, and counts what is left out. The count and where the goal is are
kept with the run, so that the next one on its branch looks back as far as this one only. A turn
costs the same, however long a conversation goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa

from runtime.model import Json, Message, MessageType, Run
from runtime.sdk.window import MOST_AHEAD, instruction, window
from runtime.store import states, summaries
from runtime.store.execute import Execute
from runtime.store.messages import COLUMNS as MESSAGE_COLUMNS
from runtime.store.messages import record
from runtime.store.tables import IS_RUNNING, Id, messages, runs
from runtime.store.tables import states as states_table

FARTHEST = 5_000
"""States that are looked through for the goal, where no run before has kept where it is."""
MOST = 20_000
"""Messages that are counted in these."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much of a conversation is asked for."""

    messages: int
    """The newest ones, besides the goal."""
    pinned: str | None = None
    """The id of the message of the thread that is the goal; None: what a person said last."""
    summary: str | None = None
    """The worker that sums up what is left out; None: nobody does."""

    def encode(self) -> dict[str, Json]:
        """As it is kept with a run until that is claimed: it beats what its worker says."""
        return {"size": self.messages, "pinned": self.pinned, "summary": self.summary}

    @classmethod
    def decode(cls, kept: Mapping[str, Any]) -> Size:
        """The size back from what is kept with a run."""
        return cls(kept["size"], kept.get("pinned"), kept.get("summary"))


@dataclass(frozen=True, slots=True)
class Windows:
    """Which runs have a window, and of what size."""

    of_workers: Mapping[str, Size] = field(default_factory=dict)
    """By worker id; one that is not there has no window."""
    most: int = 100

    def of(self, run: Run) -> Size | None:
        """None: it has no window. A later attempt has that of the one before."""
        size = self.of_workers.get(run.worker_id) if run.window is None else Size.decode(run.window)
        return size and replace(size, messages=min(size.messages, self.most))


NO_WINDOWS = Windows()


@dataclass(frozen=True, slots=True)
class Window:
    """What a run was given."""

    messages: list[Message]
    """The conversation up to its input state, oldest first."""
    kept: Mapping[str, Json] | None
    """What is kept of it with the run, see :attr:`Run.window`."""


@dataclass(frozen=True, slots=True)
class _Behind:
    """How many messages there are up to a state, and which of them are the goal and system messages."""

    total: int
    goal: list[str]
    """Ids of what a person said last, oldest first."""
    system: list[str]


def open_window(execute: Execute, dialect: str, run: Run, depth: int, size: Size) -> Window:
    """What a run with a window is given; ``depth``: of its output state.

    Where something is left out, that is written to the run, which has to be running.
    """
    rows = execute(states.WINDOW[dialect], states.newest(run.input_state_id, size.messages))
    newest = [record(row) for row in reversed(rows)]
    if len(newest) < size.messages and depth <= states.LONGEST_WALK:
        return Window(newest, run.window)
    behind = _behind(execute, dialect, run.input_state_id)
    if behind.total <= len(newest):
        return Window(newest, run.window)
    given, kept = _slid(execute, run, newest, behind, size)
    if size.summary is not None:
        given, kept = _summed_up(execute, run, given, newest, kept)
    if kept != run.window:
        execute(KEEP, {"this_run": run.id, "this_attempt": run.attempt, "kept": kept})
    return Window(given, kept)


def _slid(
    execute: Execute, run: Run, newest: list[Message], behind: _Behind, size: Size
) -> tuple[list[Message], dict[str, Json]]:
    ahead = _ahead(execute, run, newest, behind, size.pinned)
    given = window([*ahead, *newest], len(ahead) + len(newest), pinned=size.pinned, cut=True)
    return given, {
        **size.encode(),
        "given": len(given),
        "left_out": max(0, behind.total - len(given)),
        "goal": behind.goal,
        "system": behind.system,
    }


def _summed_up(
    execute: Execute, run: Run, given: list[Message], newest: list[Message], kept: dict[str, Json]
) -> tuple[list[Message], dict[str, Json]]:
    """The same with the newest summary on the way to the input state, behind what goes ahead.

    None that was made after the first attempt has begun, so that each attempt is given the same.
    """
    parameters = summaries.before(run.input_state_id, run.started_at)
    found = [summaries.record(row) for row in execute(summaries.NEWEST, parameters)]
    there = {message.id for message in newest}
    ahead = sum(message.id not in there for message in given)
    shown = [summary.as_message() for summary in found]
    covered = sum(summary.messages for summary in found)
    return [*given[:ahead], *shown, *given[ahead:]], {**kept, "summed_up": covered}


def _ahead(
    execute: Execute, run: Run, newest: list[Message], behind: _Behind, pinned: str | None
) -> list[Message]:
    """The goal and the system messages that are not among the newest messages."""
    found: list[Message] = []
    for goal in ([pinned], behind.goal) if pinned else (behind.goal,):
        there = {message.id for message in newest}
        found = _found(execute, run, [id for id in (*behind.system, *goal) if id not in there])
        if there.union(message.id for message in found).issuperset(goal):
            break
    return found


def _found(execute: Execute, run: Run, ids: Sequence[str]) -> list[Message]:
    """These messages, in the order of the conversation."""
    rows = [row for id in ids for row in execute(MESSAGE, {"message": id, "thread": run.thread_id})]
    rows.sort(key=lambda row: (row[-1], record(row).position))
    return [record(row) for row in rows]


@dataclass(frozen=True, slots=True)
class _Spoken:
    """What is needed of a message to know whether it is the goal."""

    id: str
    role: str
    author: str | None


def _behind(execute: Execute, dialect: str, state_id: str) -> _Behind:
    """Look back from a state to the root, or to the last run that has kept what is before it."""
    rows = execute(PATH[dialect], {"start": state_id, "farthest": FARTHEST})
    walked = [_Spoken(id, role, author) for id, role, author, *_ in reversed(rows) if id is not None]
    before: Mapping[str, Json] = next((row[3] for row in rows if row[3] is not None), {})
    last = instruction(walked)
    goal = [message.id for message in walked[last.start : last.stop]]
    if last.start == 0:  # what it begins with may be further back, or all of it is
        goal = [*before.get("goal", ()), *goal]
    system = [*before.get("system", ()), *(message.id for message in walked if message.role == "system")]
    total = before.get("given", 0) + before.get("left_out", 0) + len(walked)
    return _Behind(total, goal[-MOST_AHEAD:], system[-MOST_AHEAD:])


def _kept_by(run_id: Any) -> sa.ColumnElement[Any]:
    """What a run has kept of its window; NULL where nothing was left out.

    A query of its own for each state: of a join, a planner that knows the tables as they were when
    they were small would make one with all runs that there are.
    """
    kept = runs.c.window["left_out"].as_integer().is_not(None)
    return sa.select(runs.c.window).where(runs.c.id == run_id, kept).scalar_subquery()


def path_on(dialect: str) -> sa.Select[Any]:
    """The messages back to the state of a run that has kept what is before it, newest first.

    That run's record is in the rows of its state, which has one also without messages.
    """
    farthest = sa.bindparam("farthest", type_=sa.Integer)
    walk = (
        sa.select(
            states_table.c.id,
            states_table.c.parent_id,
            states_table.c.depth,
            (states_table.c.depth - farthest).label("floor"),
            _kept_by(states_table.c.run_id).label("record"),
        )
        .where(states_table.c.id == sa.bindparam("start", type_=Id))
        .cte("walk", recursive=True)
    )
    parent = states_table.alias("parent")
    walk = walk.union_all(
        sa.select(parent.c.id, parent.c.parent_id, parent.c.depth, walk.c.floor, _kept_by(parent.c.run_id))
        .join(walk, parent.c.id == walk.c.parent_id)
        .where(walk.c.record.is_(sa.null()), parent.c.depth > walk.c.floor)
    )
    columns = (messages.c.id, messages.c.role, messages.c.author, messages.c.position)
    of_walk = (messages.c.state_id == walk.c.id, ~messages.c.void)
    if dialect == "postgresql":  # state by state, as in states.window_on
        query = sa.select(*columns).where(*of_walk).order_by(messages.c.position.desc()).limit(MOST)
        shown: Any = query.lateral("shown")
        joined = walk.outerjoin(shown, sa.true())
    else:
        shown = messages
        joined = walk.outerjoin(messages, sa.and_(*of_walk))
    return (
        sa.select(shown.c.id, shown.c.role, shown.c.author, walk.c.record)
        .select_from(joined)
        .order_by(walk.c.depth.desc(), shown.c.position.desc())
        .limit(MOST)
    )


PATH = {dialect: path_on(dialect) for dialect in ("postgresql", "sqlite")}
MESSAGE = (
    sa.select(*MESSAGE_COLUMNS, states_table.c.depth)
    .join(states_table, states_table.c.id == messages.c.state_id)
    .where(
        messages.c.id == sa.bindparam("message", type_=Id),
        states_table.c.thread_id == sa.bindparam("thread", type_=Id),
        ~messages.c.void,
        messages.c.type != MessageType.FUNCTION,  # which would be without its other half
    )
)
KEEP = (
    runs.update()
    .where(
        runs.c.id == sa.bindparam("this_run", type_=Id),
        runs.c.attempt == sa.bindparam("this_attempt", type_=sa.Integer),
        IS_RUNNING,
    )
    .values(window=sa.bindparam("kept", type_=runs.c.window.type))
    .returning(runs.c.id)
)
