"""What a worker is told of a sub-run that it has called: its questions, and its end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from runtime.model import Channel, Json, Message, MessageType, Role, Run

ANSWER = (Role.ASSISTANT, MessageType.TEXT, Channel.ANSWER)
"""What a message of the answer is: its role, type and channel."""


def result(call_id: str, run: Run, written: Iterable[Json], usage_below: Json) -> dict[str, Json]:
    """That a sub-run has ended, with the messages of its output state as its caller reads them.

    ``usage_below``: what those have used that it has called itself.
    """
    return {
        "type": "result",
        "id": call_id,
        "run_id": run.id,
        "status": run.status,
        "messages": list(written),
        "usage": run.usage,
        "usage_below": usage_below,
        "error": run.error.encode() if run.error else None,
    }


def question(call_id: str, asked: Message, before: Sequence[Message]) -> dict[str, Json]:
    """That a sub-run asks its user something, or has; ``before`` is what it wrote before that."""
    said = [m.content for m in before if (m.role, m.type, m.channel) == ANSWER and m.content]
    told = {"id": asked.data.get("id"), "prompt": asked.content, "options": asked.data.get("options")}
    return {
        "type": "question",
        "id": call_id,
        # The message stands for all that is asked, however often it is told.
        "question": {**told, "schema": asked.data.get("schema"), "digest": asked.id},
        "text": "\n\n".join(said),
    }
