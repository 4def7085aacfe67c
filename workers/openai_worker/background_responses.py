"""The Responses API in background mode: an answer that goes on at its provider without a connection.

The id of the response is a durable step. So a later attempt reads the same response again from
its start and leaves out what the run has shown, and where only the connection is lost its stream is
taken up behind the last event. Nothing is generated twice, unless an attempt is lost between the
request and the commit of the id. The library repeats no request for a response: a further one is
another attempt's, of which there are as many as the worker's ``max_attempts`` allows.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from typing import Any, NoReturn

import httpx
import openai

from runtime.sdk import Failure, Run
from runtime.sdk.durable_answers import json_schema
from runtime.sdk.errors import Cancelled
from runtime.sdk.model_errors import ended_early, events_of
from runtime.sdk.tool_turns import MOST_TURNS, Toolbox, too_many_turns

_PAUSES = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Seconds before each further try to reach the provider, while nothing comes."""
_POLL_PAUSE = 1.0
_UNDER_WAY = ("queued", "in_progress")
_LAST = ("response.completed", "response.incomplete", "response.failed", "response.cancelled")
_LOST = (
    openai.APIConnectionError,
    openai.InternalServerError,
    openai.RateLimitError,
    httpx.TransportError,  # from within a stream of the library's version 2
)
_FOR_THE_MOMENT = ("server_error", "rate_limit_exceeded", "vector_store_timeout")
_CUT_OFF = {
    "max_output_tokens": "The answer was cut off: it reached the maximum length.",
    "content_filter": "The answer was cut off by the server's content filter.",
}

Piece = tuple[str, str]
"""A channel, answer or reasoning, and text that goes there."""


def answer(run: Run, client: openai.OpenAI, model: str) -> Iterator[str]:
    """Stream the model's answer; its reasoning is a message of its own."""
    final = yield from _respond(run, client, _request(run, model), itertools.count(1))
    _settle(run, client, final)


def answer_with_tools(run: Run, client: openai.OpenAI, model: str, toolbox: Toolbox) -> None:
    """The same with functions that the model may call, as often as it takes.

    Between two turns it is told what the user has sent meanwhile.
    """
    request = _request(run, model, tools=bool(toolbox))
    if toolbox:  # an empty list is refused
        request["tools"] = toolbox.as_openai("responses")
    numbers = itertools.count(1)
    for turn in range(1, run.config.get("max_turns", MOST_TURNS) + 1):
        final = _as_message(run, _respond(run, client, request, numbers, repeats=True))
        _settle(run, client, final)
        calls = [item for item in final.output if item.type == "function_call"]
        results = [
            {
                "type": "function_call_output",
                "call_id": call.call_id,
                "output": toolbox.call(f"{turn}.{number}", call.name, call.arguments, call.call_id),
            }
            for number, call in enumerate(calls, 1)
        ]
        pictures = run.config.get("pictures", True)
        news = run.as_openai("responses", messages=list(run.inbox()), pictures=pictures)
        if not calls and not news:
            return
        request = {**request, "input": [*results, *news], "previous_response_id": final.id}
    raise too_many_turns()


def _as_message(run: Run, pieces: Generator[str, None, Any]) -> Any:
    """Show text as a message of its own, for calls may follow; what ``pieces`` returns."""
    message = None
    while True:
        try:
            piece = next(pieces)
        except StopIteration as end:
            if message is not None:
                message.end()
            return end.value
        message = message or run.start()
        message.delta(piece)


def _respond(
    run: Run, client: openai.OpenAI, request: dict[str, Any], numbers: Iterator[int], *, repeats: bool = False
) -> Generator[str, None, Any]:
    """Stream one response, and return it as it is at its end.

    ``numbers`` are those of the responses that the run has asked for. ``repeats``: what earlier attempts
    have shown is shown again.
    """
    for number in numbers:
        response = BackgroundResponse(client)
        try:
            id = run.once(f"response {number}", lambda response=response: response.create(request))
            if not response.find(id):
                run.discard()  # what is shown of it, for the next one has another text
                continue
            yield from _relay(run, response.pieces(), repeats=repeats)
        except Cancelled:
            if not run.handed_back:
                response.cancel()
            raise
        run.once(f"usage {number}", _report_usage, run, response.final)
        return response.final
    return None


def _request(run: Run, model: str, *, tools: bool = False) -> dict[str, Any]:
    config = run.config
    conversation = run.as_openai(
        "responses", system=config.get("system_prompt"), tools=tools, pictures=config.get("pictures", True)
    )
    if all(item.get("role") == "system" for item in conversation):
        raise Failure("There is no message to answer.")
    request: dict[str, Any] = {
        "model": model,
        "input": conversation,
        "background": True,
        "stream": True,
        "store": True,
    }
    if "temperature" in config:
        request["temperature"] = config["temperature"]
    if "answer_schema" in config:
        request["text"] = {"format": {"type": "json_schema", **json_schema(config["answer_schema"])}}
    if "max_tokens" in config:
        request["max_output_tokens"] = config["max_tokens"]
    return request


class BackgroundResponse:
    """One response, read from its start to its end by one attempt."""

    def __init__(self, client: openai.OpenAI) -> None:
        self.final: Any = None
        """The response at its end."""
        self._client = client
        self._server = client.base_url.host
        self._id = ""
        self._stream: openai.Stream[Any] | None = None
        self._last_event: int | None = None
        """Its sequence number."""
        self._read = {"answer": "", "reasoning": ""}
        """What was read so far, by channel."""

    def create(self, request: dict[str, Any]) -> str:
        """Ask for it; its id."""
        self._stream = stream = self._client.with_options(max_retries=0).responses.create(**request)
        for event in events_of(stream, self._server):
            self._refuse_error(event)
            self._last_event = event.sequence_number
            if event.type == "response.created":
                self._id = event.response.id
                return self._id
        raise ended_early(stream, self._server)

    def find(self, id: str) -> bool:
        """Whether it can be read: it was just created, or the provider has it still and it has not failed."""
        if self._id:
            return True
        self._id = id
        try:
            return self._retrieve().status not in ("failed", "cancelled")
        except openai.NotFoundError:
            return False

    def cancel(self) -> None:
        """Have the provider generate no more of it."""
        if self._id:
            with suppress(openai.APIError, OSError, httpx.TransportError):
                self._client.with_options(timeout=3, max_retries=0).responses.cancel(self._id)

    def pieces(self) -> Iterator[Piece]:
        """What it says, to its end, however often the connection is lost."""
        tries = 0
        while self.final is None:
            error: Exception | None = None
            try:
                for channel, text in self._pieces_of_a_connection():
                    tries = 0
                    self._read[channel] += text
                    yield channel, text
            except _LOST as lost:
                error = lost
            if self.final is None:
                if tries == len(_PAUSES):
                    raise error or Failure(
                        f"{self._server} broke off: the answer has no end.", retryable=True
                    )
                time.sleep(_PAUSES[tries])
                tries += 1

    def _pieces_of_a_connection(self) -> Iterator[Piece]:
        stream, self._stream = self._stream, None
        try:
            stream = stream or self._resume()
        except openai.BadRequestError:  # OpenAI streams a response in its first five minutes only
            yield from self._pieces_at_the_end()
            return
        except openai.NotFoundError as error:
            raise Failure(f"{self._server} has lost the answer.", retryable=True) from error
        with closing(stream):
            for event in events_of(stream, self._server):
                self._refuse_error(event)
                self._last_event = event.sequence_number
                if event.type in _LAST:
                    self.final = event.response
                    return
                if piece := _piece(event):
                    yield piece

    def _refuse_error(self, event: Any) -> None:
        if event.type == "error":
            raise Failure(f"{self._server} broke off: {event.message}", retryable=True)

    def _retrieve(self) -> Any:
        response = self._client.responses.retrieve(self._id)
        if not hasattr(response, "status"):  # a page, which the library gives as its text
            raise Failure(f"{self._server} gave no answer as a server of models does.", retryable=True)
        return response

    def _resume(self) -> openai.Stream[Any]:
        """The events behind the last one that was read; all of them where there is none."""
        more = {} if self._last_event is None else {"starting_after": self._last_event}
        return self._client.responses.retrieve(self._id, stream=True, **more)

    def _pieces_at_the_end(self) -> Iterator[Piece]:
        """Wait for the whole response, and give what was not read of it."""
        while (response := self._retrieve()).status in _UNDER_WAY:
            time.sleep(_POLL_PAUSE)
        for channel, text in _texts(response).items():
            yield channel, text[len(self._read[channel]) :]
        self.final = response


def _piece(event: Any) -> Piece | None:
    match event.type:
        case "response.output_text.delta" | "response.refusal.delta":
            return "answer", event.delta
        case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
            return "reasoning", event.delta
        case "response.reasoning_summary_part.added" if event.summary_index:
            return "reasoning", "\n\n"
    return None


def _texts(response: Any) -> dict[str, str]:
    """All that a response says, by channel, as its events say it."""
    texts = {"reasoning": "", "answer": ""}
    for item in response.output:
        if item.type == "reasoning":
            texts["reasoning"] += "\n\n".join(part.text for part in item.summary)
            texts["reasoning"] += "".join(part.text for part in item.content or ())
        elif item.type == "message":
            texts["answer"] += "".join(
                getattr(part, "text", None) or getattr(part, "refusal", "") for part in item.content
            )
    return texts


def _relay(run: Run, pieces: Iterator[Piece], *, repeats: bool) -> Iterator[str]:
    """Show what the run has not shown yet, or all of it."""
    shown = {channel: 0 if repeats else _length(run, channel) for channel in ("answer", "reasoning")}
    open_thought = any(message.channel == "reasoning" for message in run.open)
    reasoning = None
    for channel, text in pieces:
        known = min(shown[channel], len(text))
        shown[channel] -= known
        text = text[known:]
        if channel == "reasoning":
            if reasoning is None and (text or open_thought):
                reasoning, open_thought = run.start(channel="reasoning"), False
            if reasoning is not None:
                reasoning.delta(text)
            continue
        if reasoning is not None:
            reasoning.end()
            reasoning = None
        yield text
    if reasoning is not None:
        reasoning.end()


def _length(run: Run, channel: str) -> int:
    """How much of a channel earlier attempts have shown."""
    return sum(len(message.content) for message in (*run.earlier, *run.open) if message.channel == channel)


def _report_usage(run: Run, response: Any) -> None:
    """Within a durable step: an attempt that reads the response again adds nothing."""
    usage = response.usage
    if usage is None:
        return
    amounts = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
    cached = getattr(usage.input_tokens_details, "cached_tokens", None)
    thought = getattr(usage.output_tokens_details, "reasoning_tokens", None)
    if cached:
        amounts["cached_input_tokens"] = cached
    if thought:
        amounts["reasoning_tokens"] = thought
    run.usage(**amounts)


def _settle(run: Run, client: openai.OpenAI, response: Any) -> None:
    """Say how the response has ended, unless it is complete. Raises Failure."""
    if response.status == "incomplete":
        reason = getattr(response.incomplete_details, "reason", None)
        if reason in _CUT_OFF:
            run.step(_CUT_OFF[reason])
    elif response.status != "completed":
        _fail(client, response)


def _fail(client: openai.OpenAI, response: Any) -> NoReturn:
    server, error = client.base_url.host, response.error
    if error is None:
        raise Failure(f"{server} ended the answer: it is {response.status}.")
    raise Failure(f"{server} broke off: {error.message}", retryable=error.code in _FOR_THE_MOMENT)
