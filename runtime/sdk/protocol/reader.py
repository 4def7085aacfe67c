"""Lines in their order: which messages are open, and characters that were cut in half."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .events import CompleteMessage, Confirm, Delta, Done, End, Event, Failed, Start
from .fields import ProtocolError, clean, decode, decode_exit

_MAX_OPEN: Final = 1000


class Reader:
    """Reads the lines of one attempt."""

    def __init__(self, elsewhere: bool = False) -> None:
        """``elsewhere``: a machine elsewhere sends them, which also says how its worker has ended."""
        self._elsewhere = elsewhere
        self.open: set[str] = set()
        """The messages that were started and have not ended, by their ``ref``."""
        self.surrogates: dict[str | None, str] = {}
        """High surrogates at the end of a delta, by message, until the low surrogate arrives."""

    def read(self, fields: Mapping[str, Any]) -> list[Event]:
        """What a line says. Raises ProtocolError."""
        is_exit = self._elsewhere and fields.get("type") == "exit"
        event = decode_exit(fields) if is_exit else decode(fields)
        match event:
            case Delta(ref, text):
                self._check_open(ref)
                text = self._complete_characters(ref, text)
                return [Delta(ref, text)] if text else []
            case Start(ref):
                if ref in self.open:
                    raise ProtocolError(f"the message {ref!r} is open already")
                if len(self.open) >= _MAX_OPEN:
                    raise ProtocolError(f"more than {_MAX_OPEN} messages are open")
                self.open.add(ref)
                return [*self._flush(None), event]
            case End(ref):
                self._check_open(ref)
                self.open.discard(ref)
                return [*self._flush(ref), event]
            case CompleteMessage():
                return [*self._flush(None), event]
            case Confirm() | Done() | Failed():
                self.open.clear()
                return [*self.end(), event]
        return [event]

    def end(self) -> list[Event]:
        """What is left when the output has ended."""
        return self._flush(*self.surrogates)

    def _check_open(self, ref: str | None) -> None:
        if ref is not None and ref not in self.open:
            raise ProtocolError(f"no message {ref!r} is open; send start first")

    def _complete_characters(self, ref: str | None, text: str) -> str:
        """``text`` without a high surrogate at its end, which is kept until the low one arrives."""
        text = self.surrogates.pop(ref, "") + text
        if text and "\ud800" <= text[-1] <= "\udbff":
            self.surrogates[ref] = text[-1]
            text = text[:-1]
        return clean(text)

    def _flush(self, *refs: str | None) -> list[Event]:
        """U+FFFD for kept surrogates whose pair will not be completed."""
        lone = [ref for ref in refs if self.surrogates.pop(ref, None)]
        return [Delta(ref, "\ufffd") for ref in lone]
