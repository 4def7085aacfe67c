"""Rules: what a chunk of a known shape means, as data.

A rule names a shape by what its chunks have at certain paths, and says where the meaning is.
A path is ``"choices.0.delta"``: keys of a mapping, attributes of an object, or places in a
list, from the outside to the inside; ``""`` is the chunk itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Self

from ..messages import Json

Chunk = Any
Meaning = dict[str, Json]
"""What a chunk means, as JSON: its ``kind`` is the method of :class:`~runtime.sdk.adapters.output.Output`
that says it, the rest that method's arguments."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What chunks of one shape mean.

    All rules of a table that fit a chunk count; one without a meaning has it ignored.
    """

    when: Mapping[str, Any]
    """Path → what is there: a value, a tuple of values, a text that ends with ``*`` for its beginning,
    or ``...`` for anything but None."""
    each: str | None = None
    """The path of a list: the rule counts for each of its items, where the other paths begin then."""
    where: Mapping[str, Any] = field(default_factory=dict)
    """The same as ``when``, for the item."""
    of: str | None = None
    """The path, in the chunk, of what it belongs to, an answer or a message. Chunks of several answers
    at the same time are told apart by it."""

    text: str | None = None
    """The path of a piece of text."""
    reasoning: str | None = None
    """The path of a piece of what a model thinks."""
    message: Mapping[str, Json] = field(default_factory=dict)
    """What the text is, if it is no answer: ``role`` and ``type`` of its message."""
    data: Mapping[str, str] = field(default_factory=dict)
    """Name → path: the data of that message."""
    author: str | None = None
    """The path of who says it, where that is not the worker."""
    call: Mapping[str, str] = field(default_factory=dict)
    """A call of a function: the paths ``key`` (what its later chunks have in common), ``id``, ``name``,
    and ``arguments``, a piece of JSON, or a value if they are whole. Only the first chunk needs all."""
    result: Mapping[str, str] = field(default_factory=dict)
    """What a call has resulted in: the paths ``id`` and ``value``, or ``error`` where it failed."""
    image: Mapping[str, str] = field(default_factory=dict)
    """A picture: the paths ``base64``, ``alt``, and ``format``, which ends with its type: ``base64.jpeg``."""
    confirm: Mapping[str, str] = field(default_factory=dict)
    """What happens next if the user agrees: the path ``prompt``, or those of the ``code`` that is
    executed then and of its ``language``."""
    step: str | None = None
    """The path of a text that says what comes next."""
    usage: Mapping[str, str] = field(default_factory=dict)
    """Name → path of an amount that the answer has used."""
    adds: bool = False
    """Whether these amounts add up in an answer. Otherwise the last of a name counts."""
    error: str | None = None
    """The path of the reason why it has failed: this ends the run."""
    retryable: bool = False
    """Whether another attempt may succeed then."""
    end: bool = False
    """Whether it ends the message, or the call, that it belongs to."""
    answer: str | None = None
    """How far the model's answer is that it belongs to: ``begun``, which needs an end; ``complete``; or
    ``over``, so that no more of it follows. Where it is over without being complete, it has no end."""

    @classmethod
    def made_of(cls, rule: Mapping[str, Json]) -> Self:
        """A rule as its author writes it. Raises TypeError where it has what no rule has."""
        known = {one.name for one in fields(cls)}
        if unknown := [name for name in rule if name not in known]:
            raise TypeError(f"a rule has no {unknown[0]!r}; it has {', '.join(sorted(known))}")
        if "when" not in rule:
            raise TypeError("a rule says when it counts: when={…}")
        return cls(**rule)

    def fits(self, chunk: Chunk) -> bool:
        """Whether it counts for this chunk."""
        return _fits(self.when, chunk)

    def read(self, chunk: Chunk) -> Iterator[Meaning]:
        """What the chunk, which it fits, means."""
        of = _key(at(chunk, self.of)) if self.of is not None else None
        if self.each is None:
            yield from self._read(chunk, of)
            return
        items = at(chunk, self.each)
        if isinstance(items, Sequence) and not isinstance(items, str):
            for item in items:
                if _fits(self.where, item):
                    yield from self._read(item, of)

    def _read(self, chunk: Chunk, of: str | None) -> Iterator[Meaning]:
        for channel, path in (("answer", self.text), ("reasoning", self.reasoning)):
            text = None if path is None else at(chunk, path)
            if isinstance(text, str) and text:
                more: Meaning = {"data": _values(self.data, chunk)} if self.data else {}
                if self.author is not None and (author := at(chunk, self.author)):
                    more["author"] = str(author)
                yield {"kind": "text", "of": of, "text": text, "channel": channel, **self.message, **more}
        if self.call:
            yield {"kind": "call", "of": of, **_values(self.call, chunk)}
        if self.result:
            yield {"kind": "result", **_values(self.result, chunk)}
        if self.confirm:
            yield {"kind": "confirm", **_values(self.confirm, chunk)}
        if self.image:
            yield {"kind": "image", **_values(self.image, chunk)}
        if self.step is not None and at(chunk, self.step):
            yield {"kind": "step", "description": str(at(chunk, self.step))}
        amounts = {name: amount for name, amount in _values(self.usage, chunk).items() if amount}
        if amounts:
            yield {"kind": "usage", "of": of, "amounts": amounts, "adds": self.adds}
        if self.end:
            yield {"kind": "end", "of": of}
        if self.answer is not None:
            yield {"kind": "answer", "of": of, "state": self.answer}
        if self.error is not None:
            message = str(at(chunk, self.error) or "The model has failed.")
            yield {"kind": "error", "message": message, "retryable": self.retryable}


def at(chunk: Chunk, path: str) -> Any:
    """What is at a path of a chunk; None where there is nothing."""
    for name in path.split(".") if path else ():
        if isinstance(chunk, Mapping):
            chunk = chunk.get(name)
        elif isinstance(chunk, Sequence) and name.isdecimal():
            chunk = chunk[int(name)] if int(name) < len(chunk) else None
        else:
            chunk = getattr(chunk, name, None)
    return chunk


def plain(value: Any) -> Json:
    """A value as JSON: what is none becomes text."""
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(one) for one in value]
    dump = getattr(value, "model_dump", None)
    return plain(dump(mode="json")) if callable(dump) and not isinstance(value, type) else str(value)


def _values(paths: Mapping[str, str], chunk: Chunk) -> dict[str, Json]:
    return {name: plain(at(chunk, path)) for name, path in paths.items()}


def _key(value: Any) -> str | None:
    return None if value is None else str(value)


def _fits(conditions: Mapping[str, Any], chunk: Chunk) -> bool:
    return all(_is(at(chunk, path), wanted) for path, wanted in conditions.items())


def _is(value: Any, wanted: Any) -> bool:
    if wanted is ...:
        return value is not None
    if isinstance(wanted, tuple):
        return any(_is(value, one) for one in wanted)
    if isinstance(wanted, str) and wanted.endswith("*"):
        return isinstance(value, str) and value.startswith(wanted[:-1])
    return type(value) is type(wanted) and bool(value == wanted)
