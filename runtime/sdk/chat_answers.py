"""Answers of chat completions, the API of OpenAI that nearly every server of models has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .model_errors import ended_early, events_of

if TYPE_CHECKING:
    from .run import Run

_CUT_OFF = {
    "length": "The answer was cut off: it reached the maximum length.",
    "content_filter": "The answer was cut off by the server's content filter.",
}


class ChatAnswer:
    """One answer, read from its stream to its end: its reasoning is a message of its own.

    The end of a stream is not the end of an answer: one that ends before a ``finish_reason`` is a Failure.
    """

    def __init__(self, run: Run, stream: Any, server: str, *, thoughts: bool = True) -> None:
        """``stream``: the chunks, as the library openai gives them; ``server``: whose they are.

        ``thoughts``: whether reasoning is shown.
        """
        self.text = ""
        """What was answered so far."""
        self.reasoning = ""
        """What was thought so far."""
        self.usage: dict[str, Any] = {}
        """What the answer has used, by the names of :meth:`runtime.sdk.Run.usage`."""
        self.calls: list[dict[str, Any]] = []
        """The calls of functions, as ``tool_calls`` of a message has them."""
        self._written: dict[int | None, dict[str, Any]] = {}
        """The calls that are being written, by the index of their pieces."""
        self._run = run
        self._stream = stream
        self._server = server
        self._thoughts = thoughts

    def pieces(self) -> Iterator[str]:
        """The text, as it comes. Raises Failure, and what the library raises."""
        reasoning = None
        finished = False
        for chunk in events_of(self._stream, self._server):
            if chunk.usage:
                self.usage = _amounts(chunk.usage)
            for choice in chunk.choices or ():
                delta = choice.delta
                thought = getattr(delta, "reasoning_content", None) or getattr(delta, "reasoning", None)
                self.reasoning += thought or ""
                if thought and self._thoughts:
                    reasoning = reasoning or self._run.start(channel="reasoning")
                    reasoning.delta(thought)
                text = delta.content or getattr(delta, "refusal", None)
                if reasoning and (text or delta.tool_calls):
                    reasoning.end()
                    reasoning = None
                if text:
                    self.text += text
                    yield text
                for piece in delta.tool_calls or ():
                    self._add(piece)
                finished = finished or bool(choice.finish_reason)
                if choice.finish_reason in _CUT_OFF:
                    self._run.step(_CUT_OFF[choice.finish_reason])
        if not finished:
            raise ended_early(self._stream, self._server)
        if reasoning:
            reasoning.end()

    def _add(self, piece: Any) -> None:
        """A piece of a call: its beginning has the id and the name.

        Some servers give all calls one index, and others each piece an id of its own. So a call begins
        with another index, or with another id and a name.
        """
        name = getattr(piece.function, "name", None) or ""
        call = self._written.get(piece.index)
        if call is None or (name and piece.id and piece.id != call["id"]):
            id = piece.id or f"call_{len(self.calls)}"
            call = {"id": id, "type": "function", "function": {"name": "", "arguments": ""}}
            self.calls.append(call)
            self._written[piece.index] = call
        call["function"]["name"] += name
        call["function"]["arguments"] += getattr(piece.function, "arguments", None) or ""


def _amounts(usage: Any) -> dict[str, Any]:
    more = {
        "cached_input_tokens": getattr(usage.prompt_tokens_details, "cached_tokens", None),
        "reasoning_tokens": getattr(usage.completion_tokens_details, "reasoning_tokens", None),
    }
    return {
        "input_tokens": usage.prompt_tokens,
        "output_tokens": usage.completion_tokens,
        **{name: amount for name, amount in more.items() if amount},
    }
