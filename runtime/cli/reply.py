"""A run's words, printed as they come, whatever happens to the stream meanwhile."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from rich.console import Console

from runtime import events
from runtime.cli.api import StreamEvent
from runtime.model import Json


@dataclass(slots=True)
class _Spoken:
    """One message: what is known of it, and how much of that is on the screen."""

    message: dict[str, Json]
    text: str = ""
    n: int = 0
    printed: int = 0
    done: bool = False


@dataclass(slots=True)
class Reply:
    """Follows a run's events; afterwards says how it ended."""

    console: Console
    status: str | None = None
    error: dict[str, Json] | None = None
    question: dict[str, Json] | None = None
    """What a waiting run asks; None once it goes on."""
    _spoken: dict[str, _Spoken] = field(default_factory=dict)
    _current: str | None = None

    def follow(self, stream: Iterable[StreamEvent]) -> None:
        """Print until the run ends or asks something."""
        for event in stream:
            self._take(event.type, event.data)
            if event.type in (events.RUN_WAITING, events.RUN_COMPLETED):
                return

    def _take(self, type: str, data: dict[str, Json]) -> None:
        match type:
            case events.MESSAGE_CREATED:
                known = self._spoken.setdefault(data["message"]["id"], _Spoken(data["message"]))
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
                for spoken in self._spoken.values():  # the whole comes again; print only what is new
                    if not spoken.done:
                        spoken.text, spoken.n = "", 0
            case events.RUN_WAITING:
                self.question = data["confirmation"]
            case events.RUN_COMPLETED:
                self.status, self.error, self.question = data["status"], data["error"], None
                self._end_line()

    def _delta(self, message_id: str, n: int, text: str) -> None:
        spoken = self._spoken.get(message_id)
        if spoken is None or spoken.done or n != spoken.n + 1:
            return
        spoken.n = n
        spoken.text += text
        self._print(message_id, spoken)

    def _completed(self, message: dict[str, Json]) -> None:
        spoken = self._spoken.setdefault(message["id"], _Spoken(message))
        if not spoken.done and message["type"] != "confirmation":
            spoken.message, spoken.text, spoken.done = message, message["content"], True
            self._print(message["id"], spoken)

    def _discard(self, message_ids: list[str]) -> None:
        if any(self._spoken.pop(message_id, None) for message_id in message_ids):
            self._note("what was said so far is void; another attempt begins")

    def _print(self, message_id: str, spoken: _Spoken) -> None:
        new = spoken.text[spoken.printed :]
        if not new:
            return
        if self._current not in (message_id, None):
            self._end_line()
        self._current = message_id
        spoken.printed += len(new)
        thinking = spoken.message.get("channel") == "reasoning"
        self.console.print(new, end="", style="dim italic" if thinking else None, markup=False)

    def _note(self, text: str) -> None:
        self._end_line()
        self.console.print(f"({text})", style="dim", markup=False)

    def _end_line(self) -> None:
        if self._current is not None:
            self.console.print()
        self._current = None
