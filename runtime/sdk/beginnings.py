"""Half an answer, with which a model goes on: ``resume = "continue"`` for workers that give one answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .run import Run


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


def go_on(text: str, pieces: Iterable[str]) -> Iterator[str]:
    """The ``pieces`` of an answer that a model has gone on with from ``text``, without its last white space.

    Models are given the text without that: with it they go on badly, and Anthropic's API refuses
    it. So they may say it again, and what is in the message already is left out.
    """
    space = text[len(text.rstrip()) :]
    for piece in pieces:
        while space and piece[:1] == space[0]:
            piece, space = piece[1:], space[1:]
        if piece:
            space = ""
            yield piece
