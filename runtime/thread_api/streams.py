"""Server-Sent Events, read line by line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import orjson

from runtime.model import Json


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One event of a stream."""

    type: str
    data: dict[str, Json]
    id: str = ""
    """Where a stream can go on from; empty for a reset."""


class EventReader:
    """Makes events of the lines of a text/event-stream."""

    def __init__(self) -> None:
        self._id, self._type = "", ""
        self._data: list[str] = []

    def feed(self, line: str) -> StreamEvent | None:
        """Take a line without its end. Returns the event that it ends, if any."""
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "id":
            self._id = value
        elif field == "event":
            self._type = value
        elif field == "data":
            self._data.append(value)
        if line:
            return None
        event = StreamEvent(self._type, orjson.loads("\n".join(self._data)), self._id) if self._data else None
        self._id, self._type, self._data = "", "", []
        return event


def parse_stream(lines: Iterable[str]) -> Iterator[StreamEvent]:
    """The events of a text/event-stream."""
    reader = EventReader()
    for line in lines:
        if event := reader.feed(line):
            yield event
