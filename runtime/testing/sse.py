"""A reader of event streams, as strict as a careful client."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson


@dataclass(frozen=True)
class Received:
    """One event as it came over the wire."""

    type: str
    id: str | None
    data: dict[str, Any] = field(default_factory=dict)


def parse(chunks: Iterable[bytes]) -> Iterator[Received]:
    """The events of a stream; comments and ``retry`` are passed over."""
    buffer = b""
    for chunk in chunks:
        buffer += chunk
        *blocks, buffer = buffer.split(b"\n\n")
        for block in blocks:
            fields: dict[str, str] = {}
            for line in block.split(b"\n"):
                if line and not line.startswith(b":"):
                    name, _, value = line.decode().partition(":")
                    fields[name] = value.removeprefix(" ")
            if "data" in fields:
                yield Received(fields.get("event", "message"), fields.get("id"), orjson.loads(fields["data"]))


@dataclass
class Text:
    """The messages that a client has put together from deltas, by the rules of the API."""

    messages: dict[str, str] = field(default_factory=dict)
    complete: dict[str, str] = field(default_factory=dict)
    void: set[str] = field(default_factory=set)
    _n: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, snapshot: dict[str, Any]) -> Text:
        """What a snapshot shows of messages that are being written: what comes behind it continues them."""
        written = {one["message"]["id"]: one for one in snapshot["open"]}
        return cls(
            {id: one["message"]["content"] for id, one in written.items()},
            _n={id: one["n"] for id, one in written.items()},
        )

    def apply(self, event: Received) -> None:
        """Apply one event; a delta that is out of order is an error."""
        data = event.data
        match event.type:
            case "message.created":
                self.messages[data["message"]["id"]] = ""
                # The next delta sets the count: what is sent again after a reset comes as one.
                self._n.pop(data["message"]["id"], None)
            case "message.delta":
                message, n = data["message_id"], data["n"]
                assert n == self._n.get(message, n - 1) + 1, f"delta {n} after {self._n[message]}"
                self._n[message] = n
                self.messages[message] = self.messages.get(message, "") + data["text"]
            case "message.completed":
                message, content = data["message"]["id"], data["message"]["content"]
                if self._n.get(message):
                    assert self.messages[message] == content, "what was streamed is not what is stored"
                self.messages[message] = self.complete[message] = content
            case "run.retried":
                for message in data["discarded"]:
                    self.void.add(message)
                    self.messages.pop(message, None)
                    self.complete.pop(message, None)
