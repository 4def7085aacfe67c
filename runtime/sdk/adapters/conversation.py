"""Which messages of the conversation an agent has not seen that keeps its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..messages import Message

if TYPE_CHECKING:
    from ..run import Run


def unseen(run: Run, last: str | None) -> Sequence[Message]:
    """The messages after the answer to the one whose id is ``last``, which was the newest then.

    Where that is not among the messages that the run is given, those after the last answer.
    """
    places = [place for place, message in enumerate(run.messages) if last and message.id == last]
    if places:
        start = places[0] + 1
        while start < len(run.messages) and _is_answer(run.messages[start]):
            start += 1
        return run.messages[start:]
    start = len(run.messages)
    while start and not _is_answer(run.messages[start - 1]):
        start -= 1
    return run.messages[start:]


def _is_answer(message: Message) -> bool:
    return message.role in ("assistant", "tool")
