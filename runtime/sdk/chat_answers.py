"""Answers of chat completions, the API of OpenAI that nearly every server of models has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .model_errors import ended_early, events_of
from .thoughts import LeadingThought

if TYPE_CHECKING:
    from .run import OpenMessage, Run

LENGTH = "length"
"""What ended an answer that was cut off at the most that its model may write at once."""
CUT_OFF = {
    LENGTH: "The answer was cut off: it reached the maximum length.",
    "content_filter": "The answer was cut off by the server's content filter.",
}
"""By what has ended an answer that is not whole: what its user is told."""
REFUSED = (400, 422)
"""The statuses of an answer to a request that the server does not take."""


def stream_of(client: Any, **request: Any) -> Any:
    """The stream of an answer, which tells what it has used where its server takes a request for that.

    ``client``: of the library openai, which raises its errors; ``request``: what is asked of
    ``chat.completions``, without ``stream``.
    """
    create = client.chat.completions.create
    try:
        return create(**request, stream=True, stream_options={"include_usage": True})
    except Exception as error:
        told = f"{error} {getattr(error, 'body', '')}"
        if getattr(error, "status_code", None) not in REFUSED or "stream_options" not in told:
            raise
    return create(**request, stream=True)


class ChatAnswer:
    """One answer, read from its stream to its end: its reasoning is a message of its own.

    The end of a stream is not the end of an answer: one that ends before a ``finish_reason`` is a Failure.
    """

    def __init__(
        self, run: Run, stream: Any, server: str, *, thoughts: bool = True, continues: bool = False
    ) -> None:
        """``stream``: the chunks, as the library openai gives them; ``server``: whose they are.

        ``thoughts``: whether reasoning is shown; ``continues``: whether it goes on with a text.
        """
        self.text = ""
        """What was answered so far."""
        self.reasoning = ""
        """What was thought so far."""
        self.usage: dict[str, Any] = {}
        """What the answer has used, by the names of :meth:`runtime.sdk.Run.usage`."""
        self.calls: list[dict[str, Any]] = []
        """The calls of functions, as ``tool_calls`` of a message has them."""
        self.cut_off: str | None = None
        """What has ended it before it was whole, of :data:`CUT_OFF`."""
        self._written: dict[int | None, dict[str, Any]] = {}
        """The calls that are being written, by the index of their pieces."""
        self._run = run
        self._stream = stream
        self._server = server
        self._thoughts = thoughts
        self._thought: OpenMessage | None = None
        self._leading = LeadingThought(continues=continues)

    def pieces(self) -> Iterator[str]:
        """The text, as it comes. Raises Failure, and what the library raises."""
        finished = False
        for chunk in events_of(self._stream, self._server):
            if chunk.usage:
                self.usage = _amounts(chunk.usage)
            for choice in chunk.choices or ():
                delta = choice.delta
                self._think(getattr(delta, "reasoning_content", None) or getattr(delta, "reasoning", None))
                thought, text = self._leading.add(delta.content or getattr(delta, "refusal", None) or "")
                self._think(thought)
                if text or delta.tool_calls:
                    self._end_thought()
                if text:
                    self.text += text
                    yield text
                for piece in delta.tool_calls or ():
                    self._add(piece)
                finished = finished or bool(choice.finish_reason)
                if choice.finish_reason in CUT_OFF:
                    self.cut_off = choice.finish_reason
        if not finished:
            raise ended_early(self._stream, self._server)
        thought, text = self._leading.end()
        self._think(thought)
        self._end_thought()
        if text:
            self.text += text
            yield text
        if self.cut_off:
            self._run.step(CUT_OFF[self.cut_off])

    def _think(self, thought: str | None) -> None:
        """Show what the model thinks."""
        self.reasoning += thought or ""
        if thought and self._thoughts:
            self._thought = self._thought or self._run.start(channel="reasoning")
            self._thought.delta(thought)

    def _end_thought(self) -> None:
        if self._thought is not None:
            self._thought.end()
            self._thought = None

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
