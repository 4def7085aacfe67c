"""Titles made of a text: what a thread is called until somebody, or a worker, names it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from runtime.model import Role
from runtime.store.states import NewMessage

_LONGEST_TITLE = 80
"""Characters of a title that nobody gave."""
_BEGINNING, _LINE = 4000, 400
"""Characters of a text, and of a line of it, that are looked at for one."""

_THOUGHT = re.compile(r"\s*<(think|thinking)>.*?(?:</\1>|\Z)", re.DOTALL)
"""What many models write before their answer."""
_END_OF_THOUGHT = re.compile(r"(?:^|\n)[ \t]*</think(?:ing)?>|</think(?:ing)?>(?=[ \t]*(?:\n|\Z))")
"""All that they write of it, if their template ends the prompt with its beginning."""
_NO_TEXT = re.compile(r"\s*(?:```|~~~|[-*_\s]+$)")
_LEAD = re.compile(r"^\s*(?:#{1,6}\s+|>\s*|[*+-]\s+)*")
_PAIR = re.compile(r"(?<!\w)(\*{1,3}|_{1,3}|`+)(?=\S)(.+?)(?<=\S)\1(?!\w)")
_ZERO_WIDTH_JOINER = "\u200d"
_SKIN_TONES = "".join(map(chr, range(0x1F3FB, 0x1F400)))
_TAGS = "".join(map(chr, range(0xE0020, 0xE0080)))
_FLAG_LETTERS = "".join(map(chr, range(0x1F1E6, 0x1F200)))
"""Two of them are a flag."""
_QUOTES = " \t\"'“”„«»"


def first_words(messages: Sequence[NewMessage]) -> str | None:
    """The title of a thread that begins with these messages."""
    words = (title_of(message.content) for message in messages if message.role is Role.USER)
    return next(filter(None, words), None)


def title_of(text: str) -> str:
    """A title made of the beginning of a text: plain, one line, cut between words; empty if there is none."""
    thought = _THOUGHT.match(text) or _END_OF_THOUGHT.search(text)
    start = thought.end() if thought else 0
    beginning = (line[:_LINE] for line in text[start : start + _BEGINNING].splitlines())
    lines = (line for line in beginning if not _NO_TEXT.match(line))
    lines = (_unmarked(line).strip(_QUOTES) for line in lines)
    title = " ".join(next(filter(None, lines), "").split())
    if len(title) <= _LONGEST_TITLE:
        return title
    return title[:_LONGEST_TITLE].rpartition(" ")[0] or _cut(title)


def _cut(title: str) -> str:
    """A title without spaces, cut where a character that a reader sees ends."""
    end = _LONGEST_TITLE
    while end > _LONGEST_TITLE // 2 and _is_one_character(title, end):
        end -= 1
    return title[:end]


def _is_one_character(text: str, at: int) -> bool:
    """Whether what is before and after this place is seen as one: an accent, a family, a flag."""
    before, after = text[at - 1], text[at]
    if _ZERO_WIDTH_JOINER in (before, after) or _is_extension(after):
        return True
    if after not in _FLAG_LETTERS:
        return False
    letters = len(text[:at]) - len(text[:at].rstrip(_FLAG_LETTERS))
    return letters % 2 == 1


def _is_extension(character: str) -> bool:
    return unicodedata.category(character)[0] == "M" or character in _SKIN_TONES or character in _TAGS


def _unmarked(line: str) -> str:
    """A line of Markdown without what marks it as a heading, a quotation, an item, bold or code."""
    return _PAIR.sub(r"\2", _LEAD.sub("", line))
