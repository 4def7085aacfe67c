"""A run's answer, printed as it is streamed; reconnects and retries print nothing twice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from rich.console import Console

from runtime import events
from runtime.logs import printable
from runtime.model import Json
from runtime.thread_api.streams import StreamEvent


@dataclass(slots=True)
class _Printed:
    """One message: what has arrived of it, and how much of that is printed."""

    message: dict[str, Json]
    text: str = ""
    n: int = 0
    printed: int = 0
    done: bool = False


@dataclass(slots=True)
class Reply:
    """Prints a run's events, and knows afterwards how it ended."""

    console: Console
    status: str | None = None
    error: dict[str, Json] | None = None
    question: dict[str, Json] | None = None
    """The question that the run waits with; None where it waits for nothing."""
    cursor: str = ""
    """The id of the last event, to go on from."""
    _asked_by: int = 0
    """The last attempt that asked something. Each asks once; a stream that begins anew may repeat it."""
    _messages: dict[str, _Printed] = field(default_factory=dict)
    _current: str | None = None

    def follow(self, stream: Iterable[StreamEvent]) -> None:
        """Print until the run ends or asks a question."""
        for event in stream:
            self.cursor = event.id or self.cursor
            self._handle(event.type, event.data)
            if self.question is not None or self.status is not None:
                return

    def _handle(self, type: str, data: dict[str, Json]) -> None:
        match type:
            case events.MESSAGE_CREATED:
                known = self._messages.setdefault(data["message"]["id"], _Printed(data["message"]))
                known.message = data["message"]
            case events.MESSAGE_DELTA:
                self._delta(data["message_id"], data["n"], data["text"])
            case events.MESSAGE_COMPLETED:
                self._completed(data["message"])
            case events.RUN_STEP:
                self._note(data["description"])
            case events.RUN_RETRIED:
                self._discard(data["discarded"])
            case events.RESET:
                for known in self._messages.values():  # everything is sent again; print only what is new
                    if not known.done:
                        known.text, known.n = "", 0
            case events.RUN_WAITING:
                if data["attempt"] > self._asked_by:
                    self.question, self._asked_by = data["confirmation"], data["attempt"]
                    self._end_line()
            case events.RUN_COMPLETED:
                self.status, self.error = data["status"], data["error"]
                self._end_line()

    def _delta(self, message_id: str, n: int, text: str) -> None:
        known = self._messages.get(message_id)
        if known is None or known.done or n != known.n + 1:
            return
        known.n = n
        known.text += text
        self._print(message_id, known)

    def _completed(self, message: dict[str, Json]) -> None:
        known = self._messages.setdefault(message["id"], _Printed(message))
        if not known.done and message["type"] != "confirmation":
            known.message, known.text, known.done = message, message["content"], True
            self._print(message["id"], known)

    def _discard(self, message_ids: list[str]) -> None:
        if any(self._messages.pop(message_id, None) for message_id in message_ids):
            self._note("the text so far is discarded; the run is retried")

    def _print(self, message_id: str, known: _Printed) -> None:
        new = known.text[known.printed :]
        if not new:
            return
        if self._current not in (message_id, None):
            self._end_line()
        self._current = message_id
        known.printed += len(new)
        thinking = known.message.get("channel") == "reasoning"
        self.console.print(
            printable(new, prose=True), end="", style="dim italic" if thinking else None, markup=False
        )

    def _note(self, text: str) -> None:
        self._end_line()
        self.console.print(f"({printable(text)})", style="dim", markup=False)

    def _end_line(self) -> None:
        if self._current is not None:
            self.console.print()
        self._current = None
