"""The thought that many models write before their answer, into its text: ``<think>…</think>``."""

from __future__ import annotations

import re

_OPENINGS = ("<think>", "<thinking>")
_NEWLINES = 2
"""That end a thought and a blank line after it."""
_BLANK_LINE = re.compile(rf"(?:[ \t\r]*\n){{0,{_NEWLINES}}}")


class LeadingThought:
    """Divides the text of an answer, as it comes, into a thought at its beginning and what is answered."""

    def __init__(self, *, continues: bool = False) -> None:
        """``continues``: whether the answer goes on with a text, of which white space is a part."""
        self._continues = continues
        self._held = ""
        """Of which it cannot be said yet what it is."""
        self._closing = ""
        """What ends the thought; empty: none has begun."""
        self._answers = False

    def add(self, piece: str) -> tuple[str, str]:
        """What is a thought, and what is answered, once this piece of the text is there."""
        if self._answers:
            return "", piece
        self._held += piece
        if not self._closing and not self._opens():
            return "", self._rest_unless_opening()
        thought, closing, rest = self._held.partition(self._closing)
        if not closing:
            thought, self._held = self._without_half(thought)
            return thought, ""
        answer = self._answer(rest)
        if not answer:
            self._held = closing + rest  # white space may follow, which is none of the answer
            return thought, ""
        self._held = answer
        return thought, self._rest()

    def end(self) -> tuple[str, str]:
        """The same for the end of the text."""
        if self._closing:
            return self._held.partition(self._closing)[0], ""
        return "", self._rest()

    def _opens(self) -> bool:
        begun = self._held.lstrip()
        opening = next((one for one in _OPENINGS if begun.startswith(one)), "")
        if opening:
            self._closing = opening.replace("<", "</")
            self._held = begun[len(opening) :]
        return bool(opening)

    def _answer(self, rest: str) -> str:
        """What is answered of what follows on the thought; empty: that cannot be said yet."""
        if not self._continues:
            return rest.lstrip()
        blank = _BLANK_LINE.match(rest)
        assert blank is not None, "it matches nothing, too"
        is_whole = bool(rest.strip()) or blank[0].count("\n") == _NEWLINES
        return rest[blank.end() :] if is_whole else ""

    def _rest_unless_opening(self) -> str:
        begun = self._held.lstrip()
        return "" if any(one.startswith(begun) for one in _OPENINGS) else self._rest()

    def _rest(self) -> str:
        self._answers = True
        text, self._held = self._held, ""
        return text

    def _without_half(self, thought: str) -> tuple[str, str]:
        """A thought, and what may be the beginning of its end."""
        sizes = range(min(len(thought), len(self._closing) - 1), 0, -1)
        size = next((size for size in sizes if self._closing.startswith(thought[-size:])), 0)
        return thought[: len(thought) - size], thought[len(thought) - size :]
