"""Interpreters: objects with a method ``chat``, such as Open Interpreter's."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from ..interpreter import MappingRule
from ..loader import Function
from ..messages import Json, Message
from . import function
from .output import ASKED, Output
from .rules import Chunk, Rule, at
from .shapes import INTERPRETER

if TYPE_CHECKING:
    from ..run import Run

KEYS: Final = ("type", "role", "content", "format", "language", "start", "end", "agent_name")
"""What a chunk may say."""
_OPTIONS: Final = ("stream", "display", "run")
_MAPPING: Final = (
    # Open Interpreter's question whether to execute a code, which it calls by its format.
    MappingRule("content.content", "content", ("content.type",)),
    MappingRule("content.format", "language", ("content.type", "content.content")),
    MappingRule("content.code", "content"),
    MappingRule("content.language", "language", ("content.code",)),
    MappingRule("content.format", "format", ("content.code",)),
    MappingRule("agent.name", "agent_name"),
)
"""The nested chunks that are known."""
_OF_COMPUTERS: Final = ("console", "image", "confirmation")
_PICTURE: Final = re.compile(r"data:image/(\w+);base64,([A-Za-z0-9+/=]+)")


def worker(
    interpreter: Any,
    mapping: Iterable[MappingRule],
    rules: tuple[Rule, ...],
    input: Callable[[Run], Any] | None,
) -> Function:
    """The worker's function. Raises TypeError that names what ``interpreter`` lacks."""
    declared = (*map(_checked, mapping), *_MAPPING)
    options = options_of(interpreter)

    def settled(run: Run) -> list[Message]:
        return _settled(run) if input is None and _keeps_conversation(interpreter) else []

    def chat(run: Run) -> Any:
        for asked in settled(run):
            run.confirm(asked.content, asked.data.get("options") or (), id=asked.data["id"])
        if input is not None:
            message = input(run)
        elif _keeps_conversation(interpreter):
            message = [_chunk(one) for one in (*run.messages, *run.earlier) if _is_shown(one)]
        else:
            message = _last(run)
        return interpreter.chat(message, **_values(options, run))

    def output(run: Run, *tables: Iterable[Rule]) -> Interpreted:
        return Interpreted(run, *tables, mapping=declared, questions=len(settled(run)))

    return function.worker(chat, rules, None, output)


def options_of(interpreter: Any) -> list[str]:
    """Which of the optional arguments its ``chat`` takes. Raises TypeError where it is no interpreter."""
    what = f"{type(interpreter).__module__}.{type(interpreter).__qualname__}"
    if isinstance(interpreter, type):
        name = interpreter.__qualname__
        raise TypeError(f"connect() takes an object, and {name} is a class: connect({name}())")
    chat = getattr(interpreter, "chat", None)
    if chat is None:
        raise TypeError(f"connect() takes an object with a method chat(message); that of {what} has none")
    if not callable(chat):
        raise TypeError(f"chat of {what} is no method; connect() needs chat(message)")
    try:
        signature = inspect.signature(chat)
    except (TypeError, ValueError):  # one that is written in C need not have any
        return []
    named = signature.parameters
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    options = [name for name in _OPTIONS if name in named and named[name].kind in kinds]
    try:
        signature.bind("", **dict.fromkeys(options))
    except TypeError as error:
        raise TypeError(f"connect() calls chat(message), and chat{signature} of {what} has {error}") from None
    return options


class Interpreted(Output):
    """Says what the chunks of an interpreter mean."""

    def __init__(
        self, run: Run, *tables: Iterable[Rule], mapping: Sequence[MappingRule], questions: int
    ) -> None:
        """``questions``: how many chunks have asked something that the interpreter does not ask again."""
        super().__init__(run, *tables)
        self._mapping = mapping
        self._questions = questions

    def chunk(self, chunk: Chunk) -> bool:
        """Say what a chunk means: by the author's rules, as an interpreter's, or as a library's."""
        own, *known = self._tables
        if isinstance(chunk, Mapping):
            if self.by(own, chunk) or self.by(INTERPRETER, mapped(chunk, self._mapping)):
                return True
            return any(self.by(table, chunk) for table in known)
        return super().chunk(chunk)

    def pieces(self, result: Iterable[Any]) -> Iterable[Any]:
        """A list is no stream: each of its texts and chunks is a whole message."""
        return self._whole(result) if isinstance(result, list) else result

    def _whole(self, result: list[Any]) -> Iterator[Any]:
        for one in result:
            yield one
            self.end()


def mapped(chunk: Mapping[str, Any], mapping: Iterable[MappingRule]) -> dict[str, Any]:
    """The chunk flat, by the names in KEYS. The first rule for a name counts, before what has it already."""
    found: dict[str, Any] = {}
    for old, new, required in mapping:
        value = at(chunk, old)
        if new not in found and value is not None and all(at(chunk, path) is not None for path in required):
            found[new] = value
    for key in KEYS:
        value = chunk.get(key)
        if key not in found and value is not None and not isinstance(value, Mapping):
            found[key] = value
    if "type" in found:
        found.setdefault("role", "computer" if found["type"] in _OF_COMPUTERS else "assistant")
    return found


def _checked(rule: Any) -> MappingRule:
    if not isinstance(rule, MappingRule):
        raise TypeError(f"mapping is of MappingRules, not of {type(rule).__name__}")
    if rule.new not in KEYS:
        raise TypeError(f"a chunk has no {rule.new!r}; it has {', '.join(KEYS)}")
    required: Any = rule.required
    if isinstance(required, str):
        raise TypeError(f"required is a tuple of paths: ({required!r},)")
    return rule


def _values(options: Iterable[str], run: Run) -> dict[str, Any]:
    values = {"stream": True, "display": False, "run": run}
    return {name: values[name] for name in options}


def _keeps_conversation(interpreter: Any) -> bool:
    return isinstance(getattr(interpreter, "messages", None), list)


def _last(run: Run) -> str:
    return next((one.as_text() for one in reversed(run.messages) if one.role == "user"), "")


def _settled(run: Run) -> list[Message]:
    """The questions of chunks before the last answer: the conversation goes on behind them."""
    asked = [message for message in run.earlier if message.type == "confirmation"]
    return [message for message in asked[:-1] if str(message.data.get("id")).startswith(ASKED)]


def _is_shown(message: Message) -> bool:
    return message.type != "confirmation" and message.channel != "reasoning"


def _chunk(message: Message) -> dict[str, Json]:
    """A message as a chunk that is a whole one."""
    role, kind = message.role, message.type
    if kind == "code":
        language = message.data.get("language") or "text"
        return {"role": "assistant", "type": "code", "format": language, "content": message.content}
    if kind == "console":
        return {"role": "computer", "type": "console", "format": "output", "content": message.content}
    if kind == "image" and (picture := _PICTURE.fullmatch(str(message.data.get("url")))):
        role = "user" if role == "user" else "computer"
        return {"role": role, "type": "image", "format": f"base64.{picture[1]}", "content": picture[2]}
    role = "assistant" if role == "tool" else role
    return {"role": role, "type": "message", "content": message.as_text()}
