"""The inbox: messages that are sent to a run while it is under way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from .messages import Json, Message
from .steps import refuse_within

if TYPE_CHECKING:
    from .wire import Connection

_LOOK = b'{"type":"inbox"}\n'
_LOOK_BACK = b'{"type":"inbox","earlier":true}\n'
_TAG = ("inbox", "")


class Inbox:
    """Reads what has arrived, one message at each look.

    A look is remembered by the pool with what it has found, nothing included. So a later attempt of
    the run finds the same in the same order, and only then what is new. Looks that are made at the
    same time have no order, and are refused.
    """

    def __init__(self, wire: Connection, is_repeating: Callable[[], bool]) -> None:
        """``is_repeating``: whether the worker still repeats what it did before an answered question."""
        self._wire = wire
        self._is_repeating = is_repeating

    def poll(self) -> Message | None:
        """The next message, None where there is none. Does not wait for one."""
        return _message(self._wire.ask(self._line(), _TAG))

    async def poll_async(self) -> Message | None:
        """The same, for a worker with an event loop."""
        return _message(await self._wire.ask_async(self._line(), _TAG))

    def __call__(self) -> Arrived:
        """What has arrived: ``for message in run.inbox()``, or ``async for``; ends where there is no more."""
        return Arrived(self)

    def _line(self) -> bytes:
        refuse_within("a look into the inbox")
        return _LOOK_BACK if self._is_repeating() else _LOOK


class Arrived:
    """The messages that have arrived, until there is no more."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    def __iter__(self) -> Iterator[Message]:
        while (message := self._inbox.poll()) is not None:
            yield message

    async def __aiter__(self) -> AsyncIterator[Message]:
        while (message := await self._inbox.poll_async()) is not None:
            yield message


def _message(answer: Mapping[str, Json]) -> Message | None:
    fields = answer.get("message")
    return None if fields is None else Message(fields)
