"""Titles made of a text: what a thread is called until somebody, or a worker, names it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from runtime.model import Role
from runtime.store.states import NewMessage

_LONGEST_TITLE = 80
"""Characters of a title that nobody gave."""
_BEGINNING, _LINE = 4000, 400
"""Characters of a text, and of a line of it, that are looked at for one."""

_NO_TEXT = re.compile(r"\s*(?:```|~~~|[-*_\s]+$)")
_LEAD = re.compile(r"^\s*(?:#{1,6}\s+|>\s*|[*+-]\s+)*")
_PAIR = re.compile(r"(?<!\w)(\*{1,3}|_{1,3}|`+)(?=\S)(.+?)(?<=\S)\1(?!\w)")
_QUOTES = " \t\"'“”„«»"


def first_words(messages: Sequence[NewMessage]) -> str | None:
    """The title of a thread that begins with these messages."""
    words = (title_of(message.content) for message in messages if message.role is Role.USER)
    return next(filter(None, words), None)


def title_of(text: str) -> str:
    """A title made of the beginning of a text: plain, one line, cut between words; empty if there is none."""
    lines = (line[:_LINE] for line in text[:_BEGINNING].splitlines() if not _NO_TEXT.match(line[:_LINE]))
    lines = (_unmarked(line).strip(_QUOTES) for line in lines)
    title = " ".join(next(filter(None, lines), "").split())
    if len(title) <= _LONGEST_TITLE:
        return title
    return title[:_LONGEST_TITLE].rpartition(" ")[0] or title[:_LONGEST_TITLE]


def _unmarked(line: str) -> str:
    """A line of Markdown without what marks it as a heading, a quotation, an item, bold or code."""
    return _PAIR.sub(r"\2", _LEAD.sub("", line))
