"""Chat completions, the API that nearly every server of models has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai

from runtime.sdk import Failure, Run
from runtime.sdk.beginnings import GO_ON, beginning, go_on
from runtime.sdk.chat_answers import ChatAnswer, stream_of
from runtime.sdk.durable_answers import json_schema
from runtime.sdk.tool_turns import Toolbox, converse

_GOES_ON = {"vllm", "sglang", "llamacpp"}
"""Servers whose models go on with a last message of the assistant, as they call themselves in /models."""
_EXACTLY = {"continue_final_message": True, "add_generation_prompt": False}


def answer(run: Run, client: openai.OpenAI, model: str) -> Iterator[str]:
    """Stream the model's answer; its reasoning is a message of its own."""
    text = beginning(run)
    if text is None:
        return
    request = _request(run, client, model)
    with _going_on(run, client, request) if text else stream_of(client, **request) as stream:
        # What a model thinks before it goes on with an answer is no part of the conversation.
        said = ChatAnswer(run, stream, client.base_url.host, thoughts=not text, continues=bool(text))
        yield from go_on(text, said.pieces())
        if said.usage:
            run.usage(**said.usage)


def answer_with_tools(run: Run, client: openai.OpenAI, model: str, toolbox: Toolbox) -> None:
    """The same with functions that the model may call, as often as it takes."""
    request = _request(run, client, model, toolbox)
    converse(run, client, request.pop("model"), request.pop("messages"), toolbox, **request)


def _request(run: Run, client: openai.OpenAI, model: str, toolbox: Toolbox | None = None) -> dict[str, Any]:
    config = run.config
    # Without functions calls are told as text: many servers refuse them where none are offered.
    messages = run.as_openai(
        messages=run.messages if toolbox else [*run.messages, *run.earlier, *run.open],
        system=config.get("system_prompt"),
        tools=bool(toolbox),
        pictures=config.get("pictures", True),
    )
    if all(message["role"] == "system" for message in messages):
        raise Failure("There is no message to answer.")
    request: dict[str, Any] = {"model": model, "messages": messages}
    if "temperature" in config:
        request["temperature"] = config["temperature"]
    if "answer_schema" in config:
        request["response_format"] = {
            "type": "json_schema",
            "json_schema": json_schema(config["answer_schema"]),
        }
    if "max_tokens" in config:
        # OpenAI's newer models know only the newer name, many other servers only the older one.
        openai_itself = client.base_url.host == "api.openai.com"
        request["max_completion_tokens" if openai_itself else "max_tokens"] = config["max_tokens"]
    return request


def _going_on(run: Run, client: openai.OpenAI, request: dict[str, Any]) -> Any:
    """The stream of what comes after the last message."""
    request["messages"][-1]["content"] = request["messages"][-1]["content"].rstrip()
    thought = any(message.channel == "reasoning" for message in run.earlier)
    if not thought and _takes_beginnings(client):  # a model that thinks would take the rest for a thought
        try:
            return stream_of(client, **request, extra_body=_EXACTLY)
        except (openai.BadRequestError, openai.UnprocessableEntityError):
            pass  # not with this model, or not as this server is configured
    # OpenAI and others have no way to go on with an answer.
    request["messages"].append({"role": "user", "content": GO_ON})
    return stream_of(client, **request)


def _takes_beginnings(client: openai.OpenAI) -> bool:
    try:
        return any(getattr(model, "owned_by", None) in _GOES_ON for model in client.models.list(timeout=10))
    except openai.APIError:
        return False
