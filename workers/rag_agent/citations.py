"""Citations in an answer, such as [1] or [2, 3], which are checked while it is written."""

from __future__ import annotations

import re
from collections.abc import Iterator

_NUMBER = r"[1-9]\d{0,2}"
_AND = r"\s?[,;&]\s?(?:and\s)?|\sand\s"
_NUMBERS = rf"{_NUMBER}(?:(?:{_AND}|\s?[\u2013-]\s?){_NUMBER})*"
_WORD = r"(?i:passages?|sources?|documents?|docs?|references?|refs?)\.?\s#?"
"""Before the numbers, as some models write it: [Passage 2]."""
_TARGET = r"\([^)\s]{0,400}"
"""The address of a link, which is the model's own."""
_TOKEN = re.compile(
    r"(?P<ticks>`+)|\n"
    rf"|(?P<space>[ \t]?)(?<!\\)[\[\u3010]\^?(?:{_WORD})?(?P<numbers>{_NUMBERS})"
    rf"(?:\u2020[^\]\u3011\n]{{0,40}})?[\]\u3011](?:{_TARGET}\))?"
)
"""What begins or ends code, a line's end, and a citation; some models write 【1†source】 or [^1]."""
_BEGUN = re.compile(
    r"(?:`+|\\|[ \t]|"
    r"[ \t]?[\[\u3010]\^?(?:[A-Za-z]{0,10}\.?\s?#?)[\d,;&\u2013\- adn]{0,400}(?:\u2020[^\]\u3011\n]{0,40})?"
    rf"(?:[\]\u3011](?:{_TARGET})?)?)\Z"
)
"""The end of a piece that may be the beginning of such a thing."""
_FENCE = 3
"""Backticks that begin a block of code; fewer are for code within a line."""


class Citations:
    """Lets the text of an answer pass, without the numbers of passages that were not given.

    Code is left as it is: brackets in it are no citations.
    """

    def __init__(self, given: int) -> None:
        """``given``: passages, which are numbered from 1."""
        self.cited: list[int] = []
        """The numbers in the text so far, each once."""
        self._given = given
        self._held = ""
        """Of which it cannot be said yet what it is."""
        self._code = ""
        """The backticks that have begun the code that we are in."""

    def add(self, piece: str) -> str:
        """What can be shown once this piece of the text is there."""
        text = self._held + piece
        begun = _BEGUN.search(text)
        end = begun.start() if begun else len(text)
        self._held = text[end:]
        return _TOKEN.sub(self._checked, text[:end])

    def end(self) -> str:
        """What is left at the end of the text."""
        text, self._held = self._held, ""
        return _TOKEN.sub(self._checked, text)

    def _checked(self, token: re.Match[str]) -> str:
        if token["ticks"]:
            self._pass_ticks(token["ticks"])
        elif token[0] == "\n":
            if len(self._code) < _FENCE:
                self._code = ""  # a backtick alone, which is no code
        elif not self._code:
            known = [number for number in _expanded(token["numbers"]) if number <= self._given]
            self.cited += [number for number in dict.fromkeys(known) if number not in self.cited]
            return token["space"] + "".join(f"[{number}]" for number in known) if known else ""
        return token[0]

    def _pass_ticks(self, ticks: str) -> None:
        if not self._code:
            self._code = ticks
        elif ticks == self._code or (len(self._code) >= _FENCE and ticks.startswith(self._code)):
            self._code = ""


def without_citations(text: str) -> str:
    """A text of which no number is left."""
    citations = Citations(0)
    return citations.add(text) + citations.end()


def _expanded(numbers: str) -> Iterator[int]:
    """``2, 4-6 and 8`` is 2, 4, 5, 6, 8."""
    for part in re.split(_AND, numbers):
        first, *more = map(int, re.split(r"\s?[\u2013-]\s?", part))
        yield from range(first, (more[-1] if more else first) + 1)
