"""Sections of a document, and the passages that they are split into.

A passage has whole sentences of one section. Two that follow each other share the last sentences of
the first, so that what is said across their border is found, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

SIZE = 1000
"""Characters that a passage has at most."""
OVERLAP = 150
"""Characters at most that a passage shares with the one before."""
_LONGEST_TITLE = 200
_MOST_TITLES = 8
_ENDS = re.compile(
    r"[.!?\u2026][\"'\u2019\u201d\u00bb)\]]*\s+|[\u3002\uff01\uff1f]"
    r"|\n[ \t]*\n\s*|\n(?=[ \t]*(?:[-*+>|]|\d+[.)]) )"
)
"""Where a sentence, a paragraph, or an item of a list ends."""


@dataclass(frozen=True, slots=True)
class Section:
    """The text below one heading, up to the next one."""

    titles: tuple[str, ...]
    """That heading, behind those above it."""
    text: str


class Outline:
    """Makes sections of the headings and texts of a document, in their order."""

    def __init__(self) -> None:
        self._open: list[tuple[int, str]] = []
        self._sections: list[Section] = []

    def heading(self, level: int, title: str) -> None:
        """A heading begins a section; those of its level and deeper ones are over."""
        while self._open and self._open[-1][0] >= level:
            self._open.pop()
        if title := " ".join(title.split())[:_LONGEST_TITLE]:
            self._open.append((level, title))
            self._sections.append(Section(self._titles(), ""))

    def text(self, text: str) -> None:
        """More of the section that is open."""
        if not text.strip():
            return
        titles = self._titles()
        if self._sections and self._sections[-1] == Section(titles, ""):
            self._sections.pop()
        self._sections.append(Section(titles, text.strip("\n").rstrip()))

    def sections(self) -> list[Section]:
        """All of them. A heading with nothing below it is a section of itself."""
        found = []
        for section, after in zip_longest(self._sections, self._sections[1:]):
            if section.text:
                found.append(section)
            elif not (after and len(after.titles) > len(section.titles)):
                found.append(Section(section.titles[:-1], section.titles[-1]))
        return found

    def _titles(self) -> tuple[str, ...]:
        return tuple(title for _, title in self._open)[:_MOST_TITLES]


def passages(sections: Iterable[Section]) -> Iterator[Section]:
    """The passages of a document, each with the headings above it."""
    for section in sections:
        for text in _split(section.text):
            yield Section(section.titles, text)


def _split(text: str) -> Iterator[str]:
    held: list[str] = []
    for sentence in _sentences(text):
        if sum(map(len, held)) + len(sentence) > SIZE:
            if whole := "".join(held).strip():
                yield whole
            held = _shared(held, SIZE - len(sentence))
        held.append(sentence)
    if last := "".join(held).strip():
        yield last


def _sentences(text: str) -> Iterator[str]:
    """The sentences with the space behind them; one that is longer than a passage in pieces."""
    start = 0
    for end in (*(match.end() for match in _ENDS.finditer(text)), len(text)):
        while end - start > SIZE:
            space = text.rfind(" ", start, start + SIZE)
            cut = space + 1 if space > start else start + SIZE
            if piece := text[start:cut]:
                yield piece
            start = cut
        if start < end:
            yield text[start:end]
        start = end


def _shared(held: Sequence[str], room: int) -> list[str]:
    """The last sentences of a passage that begin the next one."""
    shared: list[str] = []
    size = 0
    for sentence in reversed(held[1:]):
        size += len(sentence)
        if size > min(OVERLAP, room):
            break
        shared.insert(0, sentence)
    return shared
