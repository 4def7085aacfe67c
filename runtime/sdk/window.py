"""The newest messages of a conversation, without losing its goal: for pools and for authors.

The stored conversation is never cut; this decides what of it a worker is given.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol, TypeVar

AUTO = "auto"
"""The author of a prompt by which a session goes on by itself: no instruction of a person."""
MOST_AHEAD = 10
"""Messages of the goal that go ahead of a window, and as many system messages: the newest of each."""


class Part(Protocol):
    """What a window needs to know of a message."""

    @property
    def id(self) -> str | None: ...
    @property
    def role(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def author(self) -> str | None: ...
    @property
    def data(self) -> Mapping[str, Any]: ...


class Spoken(Protocol):
    """What is needed to know whose instruction a message is."""

    @property
    def role(self) -> str: ...
    @property
    def author(self) -> str | None: ...


M = TypeVar("M", bound=Part)


def window(
    messages: Sequence[M],
    size: int,
    *,
    roles: Collection[str] | None = None,
    types: Collection[str] | None = None,
    pinned: str | None = None,
    cut: bool = False,
) -> list[M]:
    """The newest ``size`` messages, and before them the goal and the system messages.

    ``roles``, ``types``: only messages of these. ``pinned``: the id of the message that is the goal,
    in place of what a person said last. ``cut``: ``messages`` are not the whole conversation, so that
    a result without its call had one. A call and its result are both in the window, or neither is.
    Raises ValueError where ``size`` is negative.
    """
    if size < 0:
        raise ValueError("a window has a size of at least 0 messages")
    results = results_of(messages)
    shown = {
        place
        for place, message in enumerate(messages)
        if (roles is None or message.role in roles) and (types is None or message.type in types)
    }
    shown -= {call for call, result in results.items() if result not in shown}
    newest = sorted(shown)[-size:] if size else []
    kept = set(newest)
    kept -= {result for call, result in results.items() if call not in kept}
    without_call = {place for place in newest if is_result(messages[place])} - set(results.values())
    kept -= without_call if cut else _first_of(messages, sorted(kept), without_call)
    kept |= shown & ahead_of(messages, pinned)
    return [messages[place] for place in sorted(kept)]


def ahead_of(messages: Sequence[Part], pinned: str | None = None) -> set[int]:
    """The places of what must not be lost: the system messages, and the goal."""
    system = [place for place, message in enumerate(messages) if message.role == "system"]
    goal = [place for place, message in enumerate(messages) if pinned and message.id == pinned]
    return {*system[-MOST_AHEAD:], *(goal or instruction(messages)[-MOST_AHEAD:])}


def instruction(messages: Sequence[Spoken]) -> range:
    """The places of what a person said last: a question may have its picture in a message before."""
    end = len(messages)
    while end and not _is_of_person(messages[end - 1]):
        end -= 1
    start = end
    while start and _is_of_person(messages[start - 1]):
        start -= 1
    return range(start, end)


def is_call(message: Part) -> bool:
    """Whether it is a call of a function, with or without its result."""
    return message.type == "function" and message.role == "assistant"


def is_result(message: Part) -> bool:
    """Whether it is the result of a call, in a message of its own."""
    return message.type == "function" and message.role == "tool"


def results_of(messages: Sequence[Part]) -> dict[int, int]:
    """Where the results of calls are: the place of a call → that of the message with its result.

    They belong together by their ``call_id``, or by the function's name where there is none.
    """
    found: dict[int, int] = {}
    waiting: list[int] = []
    for place, message in enumerate(messages):
        if is_call(message) and "result" not in message.data:
            waiting.append(place)
        elif is_result(message):
            calls = [call for call in waiting if _belongs(message.data, messages[call].data)]
            if calls:
                call = calls[0] if message.data.get("call_id") is None else calls[-1]
                waiting.remove(call)
                found[call] = place
    return found


def _first_of(messages: Sequence[Part], kept: Sequence[int], without_call: set[int]) -> set[int]:
    """The results before anything else is said: the pool may have cut off their calls."""
    first: set[int] = set()
    for place in kept:
        if messages[place].role != "tool":
            break
        first.add(place)
    return first & without_call


def _is_of_person(message: Spoken) -> bool:
    return message.role == "user" and message.author != AUTO


def _belongs(result: Mapping[str, Any], call: Mapping[str, Any]) -> bool:
    if result.get("call_id") != call.get("call_id"):
        return False
    named = None if result.get("call_id") is not None else result.get("name")
    return named is None or bool(named == call.get("name"))
