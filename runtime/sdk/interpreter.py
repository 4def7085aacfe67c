"""What an interpreter is that :func:`runtime.sdk.connect` makes a worker of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple


class InterpreterABC(ABC):
    """An agent with a method ``chat``, as Open Interpreter has it. It need not be of this class to fit.

    It is given what the user said last. If the object has a list ``messages``, it keeps the
    conversation itself, and is given all of that: a list of chunks, each of them a whole message.
    Of the arguments ``stream`` (True), ``display`` (False) and ``run`` it is given those that it names.

    It answers at once or piece by piece: it returns a value, yields, is async, or is async and
    yields. Its answer consists of texts and chunks. A chunk is a dict, such as
    ``{"role": "assistant", "type": "code", "language": "python", "content": "print("}``.
    """

    @abstractmethod
    def chat(self, message: Any) -> Any:
        """Answer ``message``."""


class MappingRule(NamedTuple):
    """Where a chunk has something under another name, or within other dicts."""

    old: str
    """The path of what there is: ``"message.body"`` is ``body`` of the dict ``message``."""
    new: str
    """What that is in a chunk: type, role, content, format, language, start, end or agent_name."""
    required: tuple[str, ...] = ()
    """The rule counts for chunks that have something at all of these paths as well."""
