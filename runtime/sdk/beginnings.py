"""Half an answer, with which a model goes on: ``resume = "continue"`` for workers that give one answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .run import Run

GO_ON = (
    "Your answer was cut off. Continue it exactly where it ends, in the middle of a word if it ends there. "
    "Repeat nothing of it, and say nothing about this. If a space or a line break comes next, begin with it."
)
"""What a model is told that is to go on with its last message."""


def beginning(run: Run) -> str | None:
    """How far a lost attempt was with the answer: its text, "" if there is none, None if it was complete.

    Where there is a thought only, the run begins anew (:meth:`runtime.sdk.run.Run.discard`): no
    model goes on with half of one, and from a complete one it would not come to the same answer.
    """
    text = "".join(message.content for message in run.open if message.channel == "answer")
    if text.strip():
        return text
    kept = [*run.earlier, *run.open]
    if any(message.channel == "answer" for message in run.earlier):
        return None
    if any(message.channel == "reasoning" for message in kept):
        run.discard()
    return ""


class Continuation:
    """The pieces of an answer that a model has gone on with, without the white space that is there already.

    Models are given the text without the white space at its end: with it they go on badly, and
    Anthropic's API refuses it. So they may say it again, and what is in the message already is left out.
    """

    def __init__(self, text: str) -> None:
        """``text``: the answer so far."""
        self._space = text[len(text.rstrip()) :]

    def add(self, piece: str) -> str:
        """What is new of the next piece."""
        while self._space and piece[:1] == self._space[0]:
            piece, self._space = piece[1:], self._space[1:]
        if piece:
            self._space = ""
        return piece


def go_on(text: str, pieces: Iterable[str]) -> Iterator[str]:
    """The ``pieces`` of an answer that a model has gone on with from ``text``, see :class:`Continuation`."""
    continuation = Continuation(text)
    yield from filter(None, map(continuation.add, pieces))
