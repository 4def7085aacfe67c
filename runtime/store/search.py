"""The search: threads whose title or messages have certain words, and where in them.

What is compared is folded text (:mod:`folding`). It is stored beside the text, in the column
``folded``, where the database could not make it itself: of a text in ASCII it is ``lower()``.

Words are looked for as they are, also within other words, and without an index: that finds
Chinese, Japanese and Thai, which have no spaces, and it needs no extension of PostgreSQL.
Only the messages of one workspace are read, thread by thread, until a page is full.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from runtime.model import Json, Thread, ThreadStatus
from runtime.store import threads as all_threads
from runtime.store.dialects import position
from runtime.store.folding import Mark, fold, marks, terms
from runtime.store.page import Page, filled
from runtime.store.tables import Id, messages, states, threads

SNIPPET = 200
"""Characters of a snippet."""
_BEFORE = 60
"""Characters of it before what was found."""
_EXCERPT_BEFORE, _EXCERPT = 400, 1200
"""Characters of a message that are read to make a snippet of."""
_READ = 1_000_000
"""Characters of a message that are read where the excerpt has nothing of what was found."""


@dataclass(frozen=True, slots=True)
class Hit:
    """Where a thread has what was searched."""

    title_marks: Sequence[Mark]
    """Where its title has any of the words; characters of the title."""
    state_id: str | None = None
    """The newest state with a message that has all words; None where only the title has them."""
    message_id: str | None = None
    snippet: str | None = None
    """Some of the message, on one line."""
    marks: Sequence[Mark] = ()
    """Where the snippet has any of the words."""

    def encode(self) -> dict[str, Json]:
        """The hit as the API shows it."""
        return {
            "title_marks": [list(mark) for mark in self.title_marks],
            "state_id": self.state_id,
            "message_id": self.message_id,
            "snippet": self.snippet,
            "marks": [list(mark) for mark in self.marks],
        }


@dataclass(frozen=True, slots=True)
class Found:
    """A thread, and where it has what was searched."""

    thread: Thread
    hit: Hit


def find(
    c: Connection,
    workspace_id: str,
    *,
    query: str,
    status: ThreadStatus | None = None,
    limit: int = 20,
    cursor: str | None = None,
) -> Page[Found]:
    """The threads of that status (active if None) that have the words of ``query``, last updated first.

    All words are to be in the title and one message together, in any order. What is in quotation
    marks is one phrase.
    """
    wanted = [_Term(term) for term in terms(query)]
    dialect = c.dialect.name
    statement = all_threads.list_query(
        dialect,
        bool(cursor),
        _matches(wanted, dialect),
        columns=[_newest_match(wanted, dialect).label("message_id")],
    )
    values = all_threads.list_values(workspace_id, status, limit, cursor)
    rows = c.execute(statement, values).all()
    shown = filled(rows[:limit])
    hits = _hits(c, [row.message_id for row in shown if row.message_id], wanted)

    def found(row: sa.Row[Any]) -> Found:
        title = unicodedata.normalize("NFC", row.title or "")
        title_marks = marks(title, [term.folded for term in wanted]) if title == (row.title or "") else []
        return Found(all_threads.record(row), _replaced(hits.get(row.message_id), title_marks))

    return Page.of(rows, limit, found, lambda row: (row.updated_at, row.id))


class _Term:
    """A word or a phrase of the query."""

    def __init__(self, typed: str) -> None:
        self.folded = fold(typed)
        self.lower = typed.lower()
        self.is_phrase = " " in typed

    def is_in(
        self, text: sa.ColumnElement[str], folded: sa.ColumnElement[Any], dialect: str
    ) -> sa.ColumnElement[bool]:
        """Whether a text has it, of which ``folded`` is the folded form, or NULL."""
        is_there = self.position_in(text, folded) > 0
        if dialect == "sqlite" or self.lower == self.folded:
            return is_there
        # What an earlier version has stored is not folded yet; letters that are as typed are found.
        as_typed = sa.func.strpos(sa.func.lower(text), self.lower) > 0
        is_not_ascii = sa.func.octet_length(text) != sa.func.char_length(text)
        return is_there | sa.and_(folded.is_(None), is_not_ascii, as_typed)

    def position_in(
        self, text: sa.ColumnElement[str], folded: sa.ColumnElement[Any]
    ) -> sa.ColumnElement[int]:
        """The character of the folded text where it begins, from 1; 0 where it is not."""
        if self.is_phrase:  # which may go on in the next line
            text, folded = sa.func.replace(text, "\n", " "), sa.func.replace(folded, "\n", " ")
        return position(text, folded, sa.literal(self.folded))


_TITLE = sa.func.coalesce(threads.c.title, "")
_TITLE_FOLDED = sa.func.nullif(threads.c.folded, "")


def _matches(wanted: Sequence[_Term], dialect: str) -> sa.ColumnElement[bool]:
    """Whether the title, or the title and a message, have all terms."""
    in_title = sa.and_(*(term.is_in(_TITLE, _TITLE_FOLDED, dialect) for term in wanted))
    return in_title | sa.exists(_matching(wanted, dialect))


def _newest_match(wanted: Sequence[_Term], dialect: str) -> sa.ScalarSelect[Any]:
    newest = (states.c.created_at.desc(), states.c.id.desc())
    return _matching(wanted, dialect).order_by(*newest).limit(1).scalar_subquery()


def _matching(wanted: Sequence[_Term], dialect: str) -> sa.Select[Any]:
    """The ids of the messages of a thread that have all terms but those in its title."""
    of_state = (messages.c.state_id == states.c.id, ~messages.c.void)
    if dialect == "postgresql":
        # State by state: left alone, the planner reads all messages that there are.
        columns = (messages.c.id, messages.c.content, messages.c.folded)
        message: Any = sa.select(*columns).where(*of_state).offset(0).lateral("message")
        source = states.join(message, sa.true())
    else:
        message = messages
        source = states.join(messages, sa.and_(*of_state))

    def matches(term: _Term) -> sa.ColumnElement[bool]:
        in_message = term.is_in(message.c.content, message.c.folded, dialect)
        # With one term, a thread whose title has it matches anyway, and a message need not.
        return in_message | term.is_in(_TITLE, _TITLE_FOLDED, dialect) if len(wanted) > 1 else in_message

    return (
        sa.select(message.c.id)
        .select_from(source)
        .where(states.c.thread_id == threads.c.id, *map(matches, wanted))
        .correlate(threads)
    )


def _hits(c: Connection, message_ids: Sequence[str], wanted: Sequence[_Term]) -> Mapping[str, Hit]:
    if not message_ids:
        return {}
    longest = max(wanted, key=lambda term: len(term.folded))  # which is in the fewest places
    begin = longest.position_in(messages.c.content, messages.c.folded) - _EXCERPT_BEFORE
    start = sa.case((begin > 1, begin), else_=1)
    query = sa.select(
        messages.c.id,
        messages.c.state_id,
        sa.func.substr(messages.c.content, start, _EXCERPT).label("excerpt"),
        (start > 1).label("cut_before"),
        (sa.func.length(messages.c.content) >= start + _EXCERPT).label("cut_after"),
    ).where(messages.c.id.in_(message_ids))
    hits = {}
    folded = [term.folded for term in wanted]
    for row in c.execute(query).all():
        snippet, found = snippet_of(row.excerpt, folded, row.cut_before, row.cut_after)
        if not found:  # the places of a text and of its folded form are not quite the same
            text = c.execute(_TEXT, {"message": row.id}).scalar_one()
            snippet, found = snippet_of(text, folded)
        hits[row.id] = Hit((), row.state_id, row.id, snippet, found)
    return hits


_TEXT = sa.select(sa.func.substr(messages.c.content, 1, _READ)).where(
    messages.c.id == sa.bindparam("message", type_=Id)
)


def snippet_of(
    text: str, folded_terms: Sequence[str], cut_before: bool = False, cut_after: bool = False
) -> tuple[str, list[Mark]]:
    """Some of ``text`` on one line, around what it has first of the terms, and the marks in it.

    ``cut_before``, ``cut_after``: ``text`` itself is only a part.
    """
    line = " ".join(unicodedata.normalize("NFC", text).split())
    found = marks(line, folded_terms)
    start = _start_of_word(line, found[0][0] - _BEFORE if found else 0)
    end = _end_of_word(line, start + SNIPPET)
    before = "…" if cut_before or start > 0 else ""
    after = "…" if cut_after or end < len(line) else ""
    shift = len(before) - start
    inside = [(a + shift, min(b, end) + shift) for a, b in found if start <= a < end]
    return before + line[start:end] + after, inside


_NEAR = 20
"""Characters within which a snippet is cut between two words, where there are spaces."""


def _start_of_word(line: str, place: int) -> int:
    if place <= 0:
        return 0
    space = line.find(" ", place, place + _NEAR)
    return place if space < 0 else space + 1


def _end_of_word(line: str, place: int) -> int:
    if place >= len(line):
        return len(line)
    space = line.rfind(" ", place - _NEAR, place)
    return place if space < 0 else space


def _replaced(hit: Hit | None, title_marks: Sequence[Mark]) -> Hit:
    if hit is None:
        return Hit(title_marks)
    return Hit(title_marks, hit.state_id, hit.message_id, hit.snippet, hit.marks)
