"""The entries of a thread's log in the words of the panel: which events its clients get for each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from runtime import events
from runtime.model import Json
from runtime.stream import Entry

Told = tuple[str, dict[str, Json]]
"""An event of Socket.IO: its name and its data."""

_KEPT = ("id", "content", "type", "channel", "author", "data", "files", "status")
_FAILED = ("error", "timeout")


class Translation:
    """Of one chat's log, for all who read it: it knows which messages are not shown as they are written.

    Only answers in text are; reasoning, code and so on come as whole messages. Who reads on from
    somewhere has it note before what was begun there already.
    """

    def __init__(self) -> None:
        self._hidden: set[str] = set()

    def note(self, messages: Iterable[Mapping[str, Any]]) -> None:
        """Remember what these messages are, whose beginning a reader may not come by."""
        self._hidden.update(one["id"] for one in messages if not is_streamed(one))

    def of(self, entry: Entry) -> list[Told]:
        """What a client is told; the last event has the entry's id, so that none before it is missed."""
        told = list(self._of(entry.type, entry.fields))
        if told:
            told[-1][1]["id"] = entry.id
        return told

    def _of(self, type: str, fields: Mapping[str, Any]) -> Iterator[Told]:
        run_id = fields.get("run_id")
        match type:
            case events.STATE_CREATED:
                said = fields["state"].get("messages") or ()
                yield from (message(one, None) for one in said if one["role"] == "user")
            case events.RUN_STARTED:
                yield typing(True, run_id)
            case events.MESSAGE_CREATED:
                self.note([fields["message"]])
            case events.MESSAGE_DELTA:
                if fields["message_id"] not in self._hidden:
                    yield chunk(fields["text"], fields["message_id"], run_id)
            case events.MESSAGE_COMPLETED:
                yield message(fields["message"], run_id)
            case events.RUN_WAITING:
                yield typing(False, run_id)
            case events.RUN_COMPLETED:
                yield typing(False, run_id)
                if fields["status"] in _FAILED:
                    why = (fields.get("error") or {}).get("message") or f"The run ended: {fields['status']}."
                    yield "error", {"type": "error", "error": why, "code": "run_failed", "run_id": run_id}
                complete = {"type": "stream_complete", "run_id": run_id, "status": fields["status"]}
                yield "stream_complete", complete


def is_streamed(message: Mapping[str, Any]) -> bool:
    """Whether the text of an open message is shown as it is written."""
    return (message["role"], message["type"], message["channel"]) == ("assistant", "text", "answer")


def message(encoded: Mapping[str, Any], run_id: str | None) -> Told:
    """A whole message."""
    sender = "user" if encoded["role"] == "user" else "agent"
    data = {name: encoded.get(name) for name in _KEPT}
    data |= {"sender": sender, "timestamp": encoded["created_at"]}
    told = {"type": "message", "data": data, "run_id": run_id, "message_id": encoded["id"]}
    return "message", told


def chunk(text: str, message_id: str, run_id: str | None) -> Told:
    """A piece of a message that is being written."""
    told = {"type": "stream_chunk", "content": text, "message_id": message_id, "run_id": run_id}
    return "stream_chunk", told


def typing(is_typing: bool, run_id: str | None) -> Told:
    """Whether the agent is at work."""
    return "typing", {"type": "typing", "is_typing": is_typing, "run_id": run_id}
