"""States and their messages: the tree of a thread.

A state holds only what is new in it, so that a turn costs the same at any
depth. History is read from a state towards the root and stops at its window;
a sibling is found by its ordinal under the parent. Both are index look-ups, which
neither the depth of the tree nor the number of its branches makes dearer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NoReturn, TypedDict, Unpack

import sqlalchemy as sa
from sqlalchemy import Connection

from runtime.errors import Conflict, NotFound
from runtime.model import Channel, Json, Message, MessageStatus, MessageType, Role, State, new_id
from runtime.store import threads
from runtime.store.folding import stored
from runtime.store.messages import COLUMNS as MESSAGE_COLUMNS
from runtime.store.messages import of_state, record
from runtime.store.page import (
    Page,
    decode_cursor,
    encode_cursor,
    filled,
    id_of,
    number_of,
    position_of,
    within_bytes,
)
from runtime.store.tables import Id, messages, now, runs, states
from runtime.store.tables import threads as threads_table

LONGEST_WALK = 1000
"""States that one window may cross, however few messages they hold."""
PREVIEW = 80
"""Characters of a message that the tree shows."""

_END = 2**31 - 1  # behind every position

COLUMNS = tuple(states.c[name] for name in State.__dataclass_fields__ if name != "messages")


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message that is about to be stored."""

    role: Role
    content: str
    type: MessageType = MessageType.TEXT
    channel: Channel = Channel.ANSWER
    author: str | None = None
    data: Mapping[str, Json] = field(default_factory=dict)
    status: MessageStatus = MessageStatus.COMPLETE
    id: str | None = None
    """Made where it is None."""
    files: Sequence[Mapping[str, Json]] | None = None
    """Those that it names. Of what a client sends each has an ``id``, until
    :func:`runtime.store.files.name` has found it."""


@dataclass(frozen=True, slots=True)
class History:
    """A window of the messages on the path from the root to a state."""

    items: list[Message]
    """Oldest first."""
    next: str | None
    """The cursor of the window before this one; None where it begins at the root."""
    states: dict[str, dict[str, Json]]
    """Of every state in the window: ordinal, sibling_count, previous_id, next_id."""


class Marks(TypedDict, total=False):
    """What may be changed about a state."""

    label: str | None
    starred: bool


def add(
    c: Connection,
    *,
    thread_id: str,
    parent_id: str,
    messages: Sequence[NewMessage] = (),
    run_ids: Sequence[str | None] = (None,),
) -> list[State]:
    """New siblings under ``parent_id``, each with these messages.

    One for each of ``run_ids``, the runs that fill them; None where no run does.
    Raises NotFound where the thread has no such state, Conflict while the run
    of the parent has not ended.
    """
    ids = sorted(new_id() for _ in run_ids)
    branch = _reserve_branch(c, thread_id, parent_id, len(ids), latest=ids[-1])
    added = [
        _state(branch, state_id, run_id, ordinal=branch.ordinal + offset, messages=messages)
        for offset, (state_id, run_id) in enumerate(zip(ids, run_ids, strict=True))
    ]
    insert(c, added, branch.data_of)
    return added


def add_turn(
    c: Connection,
    *,
    thread_id: str,
    parent_id: str,
    messages: Sequence[NewMessage],
    run_ids: Sequence[str],
) -> tuple[State, list[State]]:
    """A new state with these messages, and under it one state for each run.

    What two calls of :func:`add` would do, in as few statements as one of them.
    Raises what it raises.
    """
    ids = sorted(new_id() for _ in range(1 + len(run_ids)))
    branch = _reserve_branch(c, thread_id, parent_id, 1, latest=ids[-1])
    input_state, outputs = turn(branch, ids, messages, run_ids)
    insert(c, [input_state, *outputs], branch.data_of)
    return input_state, outputs


def turn(
    branch: Branch, ids: Sequence[str], messages: Sequence[NewMessage], run_ids: Sequence[str]
) -> tuple[State, list[State]]:
    """The states of a turn: the one with the messages, then one under it for each run; so are ``ids``."""
    input_state = _state(
        branch, ids[0], None, ordinal=branch.ordinal, messages=messages, children=len(run_ids)
    )
    below = replace(branch, parent_id=input_state.id, depth=branch.depth + 1)
    outputs = [
        _state(below, state_id, run_id, ordinal=ordinal)
        for ordinal, (state_id, run_id) in enumerate(zip(ids[1:], run_ids, strict=True))
    ]
    return input_state, outputs


def insert(c: Connection, added: Sequence[State], data_of: str | None = None) -> None:
    """Store states and the messages they carry, as they are; ``data_of``: whose data counts in them."""
    c.execute(_INSERT_STATES, [{**_values(state, COLUMNS), "data_of": data_of} for state in added])
    carried = [
        {**_values(message, MESSAGE_COLUMNS), "folded": stored(message.content)}
        for state in added
        for message in state.messages or ()
    ]
    if carried:
        c.execute(_INSERT_MESSAGES, carried)


def get(c: Connection, workspace_id: str, state_id: str) -> State:
    """The state with its messages. Raises NotFound."""
    row = c.execute(_GET, {"workspace": workspace_id, "state": state_id}).one_or_none()
    if row is None:
        raise NotFound("There is no such state.")
    return State(**row._mapping, messages=tuple(of_state(c, row.id)))


def data(c: Connection, workspace_id: str, state_id: str) -> Json:
    """What the next worker is given at a state, which an earlier one has kept. Raises NotFound."""
    row = c.execute(_DATA_HERE, {"workspace": workspace_id, "state": state_id}).one_or_none()
    if row is None:
        raise NotFound("There is no such state.")
    return row.data


def set_data(c: Connection, state_id: str, value: Json) -> None:
    """Keep ``value`` for whoever goes on from a state; None: nothing."""
    here = None if value is None else state_id
    c.execute(states.update().where(states.c.id == state_id).values(data=value, data_of=here))


def update(c: Connection, workspace_id: str, state_id: str, **marks: Unpack[Marks]) -> State:
    """Label or star a state; what is not named stays. Raises NotFound."""
    if marks:
        c.execute(_MARK.values(**marks), {"workspace": workspace_id, "state": state_id})
    return get(c, workspace_id, state_id)


def history(
    c: Connection, workspace_id: str, state_id: str, *, limit: int = 50, cursor: str | None = None
) -> History:
    """The newest ``limit`` messages from the root to a state, or those before ``cursor``.

    A window may hold fewer where it crosses very many states without messages, or where
    they are very large. Raises NotFound.
    """
    start, before = decode_cursor(cursor, id_of, number_of) if cursor else (state_id, _END)
    window = {"start": start, "before": before, "count": limit + 1}
    rows = c.execute(HISTORY[c.dialect.name], window).all()
    shown = filled(rows[:limit])
    more = len(rows) > len(shown)
    path = c.execute(
        _PATH,
        {
            "workspace": workspace_id,
            "state": state_id,
            "start": start,
            "floor": shown[-1].depth if more else 0,
        },
    ).all()
    if not path:
        raise NotFound("There is no such state.")
    last, position = (shown[-1].state_id, shown[-1].position) if more else (path[-1].parent_id, _END)
    return History(
        [record(row) for row in reversed(shown)],
        encode_cursor(last, position) if last else None,
        {row.id: _siblings(row) for row in path},
    )


def window(c: Connection, state_id: str, count: int) -> list[Message]:
    """The newest ``count`` messages on the path to a state, oldest first."""
    rows = c.execute(WINDOW[c.dialect.name], newest(state_id, count)).all()
    return [record(row) for row in reversed(rows)]


def newest(state_id: str, count: int) -> dict[str, Json]:
    """The parameters of :data:`WINDOW` for the newest ``count`` messages, newest first."""
    return {"start": state_id, "before": _END, "count": count}


def tree(
    c: Connection, workspace_id: str, thread_id: str, *, limit: int = 200, cursor: str | None = None
) -> Page[dict[str, Json]]:
    """What a drawing of the tree shows of each state, in order of creation. Raises NotFound."""
    threads.get(c, workspace_id, thread_id)
    query = _TREE
    if cursor:
        there = position_of(cursor, states.c.created_at, states.c.id)
        query = query.where(sa.tuple_(*_BY_AGE) > there)
    rows = c.execute(query, {"thread": thread_id, "count": limit + 1}).all()
    return Page.of(rows, limit, _node, lambda row: (row.created_at, row.id))


def structure(c: Connection, workspace_id: str, thread_id: str) -> dict[str, list[Any]]:
    """The shape of the whole tree: ``ids`` in order of creation, ``parents`` by their index.

    The root's parent is -1. Raises NotFound.
    """
    threads.get(c, workspace_id, thread_id)
    rows = c.execute(_STRUCTURE, {"thread": thread_id}).all()
    ids = [row[0] for row in rows]
    index = {state_id: number for number, state_id in enumerate(ids)}
    return {"ids": ids, "parents": [index.get(row[1], -1) for row in rows]}


@dataclass(frozen=True, slots=True)
class Branch:
    """Where new states go: under which parent, and from which ordinal on."""

    thread_id: str
    parent_id: str
    depth: int
    ordinal: int
    """Of the first of them."""
    created_at: datetime
    data_of: str | None = None
    """Whose data counts in the parent."""


def _reserve_branch(c: Connection, thread_id: str, parent_id: str, count: int, latest: str) -> Branch:
    """Reserve ``count`` ordinals under the parent, and name the thread's latest state.

    One UPDATE of the parent, so that whoever adds at the same moment gets other ordinals.
    """
    row = c.execute(_BRANCH, {"parent": parent_id, "thread": thread_id, "count": count}).one_or_none()
    if row is None:
        _refuse_parent(c, thread_id, parent_id)
    c.execute(_TOUCH_THREAD, {"thread": thread_id, "latest": latest, "moment": row.moment})
    return Branch(thread_id, parent_id, row.depth + 1, row.children - count, row.moment, row.data_of)


def _refuse_parent(c: Connection, thread_id: str, parent_id: str) -> NoReturn:
    found = c.execute(_PARENT, {"parent": parent_id, "thread": thread_id}).one_or_none()
    if found is None:
        raise NotFound("The thread has no such state.")
    if found.deleted_at:
        raise NotFound("The thread has been deleted.")
    raise Conflict("The run that fills this state has not ended; wait for it, or cancel it.")


def _state(
    branch: Branch,
    state_id: str,
    run_id: str | None,
    *,
    ordinal: int,
    messages: Sequence[NewMessage] = (),
    children: int = 0,
) -> State:
    return State(
        id=state_id,
        thread_id=branch.thread_id,
        parent_id=branch.parent_id,
        depth=branch.depth,
        ordinal=ordinal,
        children=children,
        run_id=run_id,
        label=None,
        starred=False,
        created_at=branch.created_at,
        messages=tuple(
            _message(state_id, position, message, run_id, branch.created_at)
            for position, message in enumerate(messages)
        ),
    )


def _message(
    state_id: str, position: int, new: NewMessage, run_id: str | None, created_at: datetime
) -> Message:
    return Message(
        id=new.id or new_id(),
        state_id=state_id,
        position=position,
        role=new.role,
        content=new.content,
        type=new.type,
        channel=new.channel,
        author=new.author,
        data=new.data,
        status=new.status,
        run_id=run_id,
        created_at=created_at,
        files=new.files or None,
    )


def _values(record: Any, columns: Sequence[sa.Column[Any]]) -> dict[str, Any]:
    return {column.name: getattr(record, column.name) for column in columns}


def _siblings(row: sa.Row[Any]) -> dict[str, Json]:
    return {
        "ordinal": row.ordinal,
        "sibling_count": row.sibling_count,
        "previous_id": row.previous_id,
        "next_id": row.next_id,
    }


def _node(row: sa.Row[Any]) -> dict[str, Json]:
    return {str(name): value for name, value in row._mapping.items()}


def _param(name: str, type_: Any = Id) -> sa.BindParameter[Any]:
    return sa.bindparam(name, type_=type_)


_BY_AGE = (states.c.created_at, states.c.id)
"""The order of creation by the database's clock; ids have the clocks of the processes that made them."""
_RUN_IS_UNDER_WAY = sa.exists().where(runs.c.id == states.c.run_id, runs.c.finished_at.is_(None))
_IS_PARENT = (states.c.id == _param("parent"), states.c.thread_id == _param("thread"))

# Locked first, as by whoever deletes it: what begins is either refused, or seen and cancelled.
_THREAD_IS_LIVE = (
    sa.select(threads_table.c.id)
    .where(threads_table.c.id == _param("thread"), threads_table.c.deleted_at.is_(None))
    .with_for_update(key_share=True)
    .exists()
)
_BRANCH = (
    states.update()
    .where(*_IS_PARENT, ~_RUN_IS_UNDER_WAY, _THREAD_IS_LIVE)
    .values(children=states.c.children + _param("count", sa.Integer))
    .returning(states.c.depth, states.c.children, now().label("moment"), states.c.data_of)
)
_PARENT = (
    sa.select(threads_table.c.deleted_at)
    .join(states, states.c.thread_id == threads_table.c.id)
    .where(*_IS_PARENT)
)
_TOUCH_THREAD = (
    threads_table.update()
    .where(threads_table.c.id == _param("thread"))
    .values(latest_state_id=_param("latest"), updated_at=_param("moment", threads_table.c.updated_at.type))
)
_INSERT_STATES = states.insert()
_INSERT_MESSAGES = messages.insert()

_OWNED = (
    threads_table.c.id == states.c.thread_id,
    threads_table.c.workspace_id == _param("workspace"),
    threads_table.c.deleted_at.is_(None),
)
_SOURCE = states.alias("source")
DATA = sa.select(states.c.data).where(states.c.id == _param("state"))
_DATA_HERE = (
    sa.select(_SOURCE.c.data)
    .select_from(states.outerjoin(_SOURCE, _SOURCE.c.id == states.c.data_of))
    .where(states.c.id == _param("state"), *_OWNED)
)
_GET = sa.select(*COLUMNS).where(states.c.id == _param("state"), *_OWNED)
_MARK = states.update().where(states.c.id == _param("state"), sa.exists().where(*_OWNED))


def window_on(dialect: str) -> sa.Select[Any]:
    """The newest messages up to a position in a state, newest first.

    The walk goes on to the parent until it has enough messages.
    """
    start, before = _param("start"), _param("before", sa.Integer)
    enough = _param("count", sa.Integer)

    def counted(state: Any, *more: Any) -> Any:
        query = sa.select(sa.func.count()).where(messages.c.state_id == state.c.id, ~messages.c.void, *more)
        return query.scalar_subquery()

    walk = (
        sa.select(
            states.c.id,
            states.c.parent_id,
            states.c.depth,
            (states.c.depth - LONGEST_WALK).label("floor"),
            counted(states, messages.c.position < before).label("total"),
        )
        .where(states.c.id == start)
        .cte("walk", recursive=True)
    )
    parent = states.alias("parent")
    walk = walk.union_all(
        sa.select(
            parent.c.id, parent.c.parent_id, parent.c.depth, walk.c.floor, walk.c.total + counted(parent)
        )
        .join(walk, parent.c.id == walk.c.parent_id)
        .where(walk.c.total < enough, parent.c.depth > walk.c.floor)
    )
    of_walk = (
        messages.c.state_id == walk.c.id,
        ~messages.c.void,
        (messages.c.state_id != start) | (messages.c.position < before),
    )
    if dialect == "postgresql":
        # State by state: a planner that knows the tables as they were when they were small
        # would read all messages that there are, and hash them.
        shown = (
            sa.select(*MESSAGE_COLUMNS)
            .where(*of_walk)
            .order_by(messages.c.position.desc())
            .limit(enough)
            .lateral("shown")
        )
        found = sa.select(*shown.c, walk.c.depth).select_from(walk.join(shown, sa.true()))
    else:
        found = sa.select(*MESSAGE_COLUMNS, walk.c.depth).join(walk, sa.and_(*of_walk))
    return found.order_by(sa.desc("depth"), sa.desc("position")).limit(enough)


def history_on(dialect: str) -> sa.Select[Any]:
    """The same, as far as a page may be large."""
    return within_bytes(window_on(dialect), ("content", "data"), ("depth", "position"), dialect)


def _path() -> sa.Select[Any]:
    """The states from ``start`` up to a depth, lowest first, each with its neighbours."""
    same_thread = sa.select(states.c.thread_id).where(states.c.id == _param("state")).scalar_subquery()
    walk = (
        sa.select(
            states.c.id,
            states.c.parent_id,
            states.c.depth,
            states.c.ordinal,
            (states.c.depth - LONGEST_WALK).label("floor"),
        )
        .where(states.c.id == _param("start"), states.c.thread_id == same_thread, *_OWNED)
        .cte("walk", recursive=True)
    )
    above = states.alias("above")
    walk = walk.union_all(
        sa.select(above.c.id, above.c.parent_id, above.c.depth, above.c.ordinal, walk.c.floor)
        .join(walk, above.c.id == walk.c.parent_id)
        .where(above.c.depth >= _param("floor", sa.Integer), above.c.depth > walk.c.floor)
    )
    parent, previous, following = (
        states.alias("parent"),
        states.alias("previous"),
        states.alias("following"),
    )
    with_siblings = walk.outerjoin(parent, parent.c.id == walk.c.parent_id)
    for sibling, step in ((previous, -1), (following, 1)):
        with_siblings = with_siblings.outerjoin(
            sibling, (sibling.c.parent_id == walk.c.parent_id) & (sibling.c.ordinal == walk.c.ordinal + step)
        )
    return (
        sa.select(
            walk.c.id,
            walk.c.parent_id,
            walk.c.ordinal,
            sa.func.coalesce(parent.c.children, 1).label("sibling_count"),
            previous.c.id.label("previous_id"),
            following.c.id.label("next_id"),
        )
        .select_from(with_siblings)
        .order_by(walk.c.depth.desc())
    )


def _tree() -> sa.Select[Any]:
    """States in order of creation, each with the first text of its answer, else what else it has."""
    candidate = messages.alias("candidate")
    first = (
        sa.select(candidate.c.id)
        .where(
            candidate.c.state_id == states.c.id,
            ~candidate.c.void,
            candidate.c.content != "",
            candidate.c.channel == Channel.ANSWER,
        )
        .order_by(candidate.c.type != MessageType.TEXT, candidate.c.position)
        .limit(1)
        .scalar_subquery()
    )
    return (
        sa.select(
            states.c.id,
            states.c.parent_id,
            states.c.depth,
            states.c.ordinal,
            states.c.children,
            sa.func.coalesce(sa.func.substr(messages.c.content, 1, PREVIEW), "").label("preview"),
            sa.func.coalesce(messages.c.author, messages.c.role).label("author"),
            states.c.run_id,
            runs.c.status.label("run_status"),
            runs.c.worker_id,
            states.c.label,
            states.c.starred,
            states.c.created_at,
        )
        .select_from(
            states.outerjoin(messages, messages.c.id == first).outerjoin(runs, runs.c.id == states.c.run_id)
        )
        .where(states.c.thread_id == _param("thread"))
        .order_by(*_BY_AGE)
        .limit(_param("count", sa.Integer))
    )


WINDOW = {dialect: window_on(dialect) for dialect in ("postgresql", "sqlite")}
HISTORY = {dialect: history_on(dialect) for dialect in ("postgresql", "sqlite")}
_PATH = _path()
_TREE = _tree()
_STRUCTURE = (
    sa.select(states.c.id, states.c.parent_id)
    .where(states.c.thread_id == _param("thread"))
    .order_by(*_BY_AGE)
)
