"""Answers of chat completions, each of them a durable step of its run.

The worker brings its client of OpenAI's library; nothing of that is imported here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from .beginnings import GO_ON, Continuation
from .chat_answers import CUT_OFF, LENGTH, REFUSED, ChatAnswer, stream_of
from .errors import Failure
from .messages import Json
from .model_errors import failure_of

if TYPE_CHECKING:
    from .run import OpenMessage, Run

T = TypeVar("T")

_LONGEST_PROBLEM = 500
"""Characters of what a value does not fit, which may be as long as the value."""
_MOST_PARTS = 20
"""Requests that one text may take: a model that says the same again and again has no end."""
_TOO_LONG = "it is too long and was cut off; make it shorter"
_FILTERED = "it was cut off by the server's content filter"
ChatMessage = dict[str, Json]
"""A message as chat completions have it: role, content, tool_calls."""


class Shown(Protocol):
    """Where the text of an answer is shown while it comes."""

    def add(self, text: str) -> None:
        """A piece of the text."""

    def end(self) -> None:
        """The text is whole."""


def ask(
    run: Run,
    key: str,
    client: Any,
    model: str,
    messages: Sequence[ChatMessage],
    *,
    show: Shown | str | None = "answer",
    **request: Any,
) -> ChatMessage:
    """The model's answer, as the next request has it among its ``messages``.

    Its text is streamed in the channel ``show``, "answer" or "reasoning", or to what shows it, or not at
    all (None); what the model thinks is reasoning. ``request``: what else it is asked with, such as
    ``tools``.

    It is the durable step ``key``: a later attempt shows it and asks nothing. An attempt that is
    lost before the answer is whole and saved asks again. Raises Failure.
    """
    kept = _kept(run, key, client, model, messages, show, request)
    answer: ChatMessage = kept["message"]
    return answer


def ask_for_text(
    run: Run,
    key: str,
    client: Any,
    model: str,
    messages: Sequence[ChatMessage],
    *,
    show: Shown | str | None = "answer",
) -> str:
    """A text of the model, which may be longer than what it writes at once: what was cut off is gone on with.

    Each part is a durable step, as in :func:`ask`. Raises Failure where the text does not come to its end.
    """
    shown = _Parts(_InChannel(run, show) if show is None or isinstance(show, str) else show)
    for number in range(1, _MOST_PARTS + 1):
        so_far = shown.text
        going_on = [{"role": "assistant", "content": so_far.rstrip()}, {"role": "user", "content": GO_ON}]
        asked = [*messages, *(going_on if so_far else ())]
        kept = _kept(run, f"{key} {number}", client, model, asked, shown, {}, continues=bool(so_far))
        if not kept.get("cut_off"):
            shown.end_all()
            return shown.text
        if kept["cut_off"] != LENGTH or shown.text == so_far:
            raise Failure(CUT_OFF[kept["cut_off"]])
        run.step("Going on where it was cut off")
    raise Failure(f"The text has no end after {_MOST_PARTS} parts.")


def _kept(
    run: Run,
    key: str,
    client: Any,
    model: str,
    messages: Sequence[ChatMessage],
    show: Shown | str | None,
    request: Mapping[str, Any],
    *,
    continues: bool = False,
) -> dict[str, Json]:
    """What is kept of an answer: the message, what was thought, and what has cut it off.

    ``continues``: whether it goes on with a text.
    """
    was_asked = run.has_step(key)
    shown = _InChannel(run, show) if show is None or isinstance(show, str) else show
    said = None if was_asked else _stream(run, shown, client, model, messages, request, continues)

    def keep() -> dict[str, Json]:
        assert said is not None, "it is called where nothing is kept"
        run.usage(**said.usage)
        message = {"role": "assistant", "content": said.text}
        calls = {"tool_calls": said.calls} if said.calls else {}
        return {"message": {**message, **calls}, "reasoning": said.reasoning, "cut_off": said.cut_off}

    kept: dict[str, Json] = run.once(key, keep)
    if was_asked:
        if kept["reasoning"]:
            run.message(kept["reasoning"], channel="reasoning")
        shown.add(kept["message"]["content"])
        shown.end()
    return kept


def json_schema(schema: Mapping[str, Json]) -> dict[str, Json]:
    """What has a model of OpenAI's APIs answer with JSON of a schema.

    It is not strict for a schema that leaves something open, which is refused as a strict one.
    """
    return {"name": "answer", "schema": schema, "strict": schema.get("additionalProperties") is False}


def _as_it_is(value: Any) -> Any:
    return value


def ask_for_json(
    run: Run,
    key: str,
    client: Any,
    model: str,
    messages: Sequence[ChatMessage],
    *,
    schema: Mapping[str, Json],
    read: Callable[[Any], T] = _as_it_is,
    structured: bool = True,
) -> T:
    """What the model answers in JSON that fits the ``schema``, as ``read`` has it; the text is not shown.

    ``read`` raises ValueError where the JSON is of no use for another reason. Where it is of none, the
    model is told why and asked once more. ``structured``: the server is asked to hold the model to the
    ``schema``; where it refuses such a request, to JSON, and then to nothing. So say in the messages what
    is wanted, too. It takes the library jsonschema. Raises Failure.
    """
    problem_of = _checker(schema)
    conversation = list(messages)
    formats: list[dict[str, Any]] = [{}]
    if structured:
        by_schema = {"type": "json_schema", "json_schema": json_schema(schema)}
        formats = [{"response_format": by_schema}, {"response_format": {"type": "json_object"}}, {}]
    problem = ""
    for number in (1, 2):
        kept = _kept_in(formats, run, f"{key} {number}", client, model, conversation)
        answer = kept["message"]
        try:
            if cut_off := kept.get("cut_off"):
                raise ValueError(_TOO_LONG if cut_off == LENGTH else _FILTERED)
            value = _json_in(answer["content"])
            if found := problem_of(value):
                raise ValueError(found)
            return read(value)
        except ValueError as error:
            problem = str(error)
        again = f"That cannot be used: {problem}. Answer again, with nothing but JSON of the schema."
        answered = {"role": "assistant", "content": answer["content"] or "(nothing)"}
        conversation += [answered, {"role": "user", "content": again}]
    raise Failure(f"The model has twice given an answer that cannot be used: {problem}.")


def _kept_in(
    formats: list[dict[str, Any]],
    run: Run,
    key: str,
    client: Any,
    model: str,
    conversation: Sequence[ChatMessage],
) -> dict[str, Json]:
    """The answer in the first of the ``formats`` that the server does not refuse; those it does are removed.

    A refusal costs nothing. One for another reason is met by the last request, too.
    """
    while True:
        try:
            return _kept(run, key, client, model, conversation, None, formats[0])
        except Failure as failure:
            refused = getattr(failure.__cause__, "status_code", None) in REFUSED
            if not refused or len(formats) == 1:
                raise
            del formats[0]


class _InChannel:
    """The text of an answer, in a message that begins with its first piece."""

    def __init__(self, run: Run, channel: str | None) -> None:
        """``channel``: None where it is not shown."""
        self._run = run
        self._channel = channel
        self._message: OpenMessage | None = None

    def add(self, text: str) -> None:
        if self._channel is not None and text:
            self._message = self._message or self._run.start(channel=self._channel)
            self._message.delta(text)

    def end(self) -> None:
        if self._message is not None:
            self._message.end()


class _Parts:
    """A text that comes in parts, the next of which goes on where the last one ends."""

    def __init__(self, shown: Shown) -> None:
        self.text = ""
        self._shown = shown
        self._continuation = Continuation("")

    def add(self, text: str) -> None:
        new = self._continuation.add(text)
        self.text += new
        if new:
            self._shown.add(new)

    def end(self) -> None:
        """The end of a part."""
        self._continuation = Continuation(self.text)

    def end_all(self) -> None:
        """The text is whole."""
        self._shown.end()


def _stream(
    run: Run,
    shown: Shown,
    client: Any,
    model: str,
    messages: Sequence[ChatMessage],
    request: Mapping[str, Any],
    continues: bool,
) -> ChatAnswer:
    server = client.base_url.host
    try:
        with stream_of(client, model=model, messages=list(messages), **request) as stream:
            said = ChatAnswer(run, stream, server, continues=continues)
            for piece in said.pieces():
                shown.add(piece)
    except Failure:
        raise
    except Exception as error:
        raise failure_of(error, server=server, model=model) or error from error
    shown.end()
    return said


def _checker(schema: Mapping[str, Json]) -> Callable[[Json], str]:
    """What says why a value does not fit the schema; "" where it does."""
    try:
        from jsonschema import Draft202012Validator
        from jsonschema.exceptions import best_match
    except ImportError as error:
        raise ImportError(
            "the library jsonschema is not installed where the pool runs; "
            "install it there: pip install jsonschema"
        ) from error
    validator = Draft202012Validator(schema)

    def problem_of(value: Json) -> str:
        problem = best_match(validator.iter_errors(value))
        return "" if problem is None else f"{problem.json_path}: {problem.message[:_LONGEST_PROBLEM]}"

    return problem_of


def _json_in(text: str) -> Json:
    """The JSON in a text: models put it into fences, and say something around it."""
    text = text.rpartition("</think>")[2]  # of some the thought has no beginning
    begin, end = text.find("{"), text.rfind("}")
    try:
        return json.loads(text[begin : end + 1] if 0 <= begin < end else text)
    except RecursionError:
        raise ValueError("it nests too deeply") from None
    except ValueError as error:
        raise ValueError(f"it is no JSON ({error})") from None
