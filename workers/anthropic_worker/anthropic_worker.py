"""Anthropic's models through their official library, streamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

try:
    import anthropic
except ImportError as error:
    raise ImportError(
        "the library anthropic is not installed where the pool runs; "
        "install it there: pip install 'branchline[workers]'"
    ) from error

from runtime.sdk import Failure, OpenMessage, Run, worker
from runtime.sdk.beginnings import beginning, go_on
from runtime.sdk.model_errors import ended_early, events_of, failure_of

_MODEL = "claude-sonnet-5-5"

# Made once, before the host forks: reading the certificates takes longer than the rest of a start.
_CLIENT = anthropic.Anthropic(
    api_key=os.environ.get("ANTHROPIC_API_KEY", ""), base_url=os.environ.get("ANTHROPIC_BASE_URL") or None
)
_SERVER = _CLIENT.base_url.host


@worker.choices("model")
def models() -> list[str]:
    """Those that the key may use, the newest first."""
    client = _CLIENT.with_options(timeout=10, max_retries=0)
    return [model.id for model in client.models.list(limit=1000)]


def run(run: Run) -> Iterator[str]:
    """Stream the model's answer; its thinking is a message of its own."""
    text = beginning(run)
    if text is None:
        return
    request = _request(run, goes_on=bool(text))
    try:
        with _CLIENT.messages.create(**request) as stream:
            yield from go_on(text, _relay(run, stream))
    except Failure:
        raise
    except Exception as error:
        if text and isinstance(error, anthropic.BadRequestError):
            run.discard()  # newer models do not go on with an answer
        raise (
            failure_of(error, server=_SERVER, model=request["model"], key="the key in ANTHROPIC_API_KEY")
            or error
        ) from error


def _request(run: Run, *, goes_on: bool) -> dict[str, Any]:
    """``goes_on``: with the text that a lost attempt has left, which is the end of the conversation."""
    config = run.config
    # Calls of functions are told as text: the API refuses them in a request that offers no functions.
    conversation = run.as_anthropic(
        messages=[*run.messages, *run.earlier, *run.open], system=config.get("system_prompt"), tools=False
    )
    if not conversation["messages"]:
        raise Failure("There is no message to answer.")
    request: dict[str, Any] = {
        "model": config.get("model") or os.environ.get("ANTHROPIC_MODEL") or _MODEL,
        "max_tokens": config.get("max_tokens", 8192),
        "stream": True,
        **conversation,
    }
    if config.get("thinking") and not goes_on:  # who thinks begins with that, and the thought is there
        request["thinking"] = {"type": "adaptive", "display": "summarized"}
    return request


def _relay(run: Run, stream: anthropic.Stream[Any]) -> Iterator[str]:
    thinking: OpenMessage | None = None
    for event in events_of(stream, _SERVER):
        match event.type:
            case "message_start":
                _report_usage(run, event.message.usage)
            case "content_block_start" if event.content_block.type == "thinking":
                thinking = run.start(channel="reasoning")
            case "content_block_delta" if event.delta.type == "thinking_delta" and thinking:
                thinking.delta(event.delta.thinking)
            case "content_block_delta" if event.delta.type == "text_delta":
                yield event.delta.text
            case "content_block_stop" if thinking:
                thinking.end()
                thinking = None
            case "message_delta":
                _report_usage(run, event.usage)
                _report_stop_reason(run, event.delta.stop_reason)
            case "message_stop":
                return
    raise ended_early(stream, _SERVER)


_REASONS = {
    "max_tokens": "The answer was cut off: it reached the maximum length.",
    "model_context_window_exceeded": "The answer was cut off: the conversation fills the model's window.",
    "refusal": "The model declined to continue.",
}


def _report_stop_reason(run: Run, reason: str | None) -> None:
    if reason in _REASONS:
        run.step(_REASONS[reason])


def _report_usage(run: Run, usage: Any) -> None:
    amounts = {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_input_tokens": getattr(usage, "cache_read_input_tokens", None),
    }
    run.usage(**{name: amount for name, amount in amounts.items() if amount is not None})
