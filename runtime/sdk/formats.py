"""Conversations as the libraries of OpenAI and Anthropic take them."""

from __future__ import annotations

import json
from collections.abc import Iterable

from .messages import Json
from .turns import Call, Document, Part, Turn

Item = dict[str, Json]

_BEGINNING = "(The conversation begins here.)"
"""What Anthropic's API is told in place of the user where the assistant has the first word."""


def openai_chat(turns: Iterable[Turn]) -> list[Item]:
    """The ``messages`` of chat completions."""
    messages: list[Item] = []
    for turn in turns:
        message: Item = {"role": turn.role}
        if turn.parts:
            message["content"] = _content([_chat_part(part) for part in turn.parts])
        if turn.calls:
            message["tool_calls"] = [_chat_call(call) for call in turn.calls]
        messages.append(message)
        messages += (
            {"role": "tool", "tool_call_id": call.id, "content": _output(call)} for call in turn.calls
        )
    return messages


def openai_responses(turns: Iterable[Turn]) -> list[Item]:
    """The items of the Responses API, its ``input``."""
    items: list[Item] = []
    for turn in turns:
        if turn.parts:
            items.append(
                {"role": turn.role, "content": _content([_response_part(one) for one in turn.parts])}
            )
        items += (
            {
                "type": "function_call",
                "call_id": call.id,
                "name": call.name,
                "arguments": _dump(call.arguments),
            }
            for call in turn.calls
        )
        items += (
            {"type": "function_call_output", "call_id": call.id, "output": _output(call)}
            for call in turn.calls
        )
    return items


def anthropic(turns: Iterable[Turn]) -> Item:
    """The arguments ``system``, where there is one, and ``messages`` of Anthropic's messages."""
    system: list[str] = []
    messages: list[Item] = []

    def say(role: str, blocks: list[Item]) -> None:
        if not messages and role == "assistant":
            messages.append({"role": "user", "content": [_text(_BEGINNING)]})
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"] += blocks
        else:
            messages.append({"role": role, "content": blocks})

    for turn in turns:
        if turn.role == "system":
            system += (part for part in turn.parts if isinstance(part, str))
            continue
        say(turn.role, [*map(_block, turn.parts), *map(_tool_use, turn.calls)])
        if turn.calls:
            say("user", [*map(_tool_result, turn.calls)])
    if messages and messages[-1]["role"] == "assistant":
        _strip_end(messages[-1]["content"])
    for message in messages:
        message["content"] = _content(message["content"])
    return {**({"system": "\n\n".join(system)} if system else {}), "messages": messages}


def _content(parts: list[Item]) -> str | list[Item]:
    """Several texts are one; parts are needed only where there is something else among them."""
    if all("text" in part for part in parts):
        return "\n\n".join(part["text"] for part in parts)
    return parts


def _text(text: str) -> Item:
    return {"type": "text", "text": text}


def _dump(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)


def _output(call: Call) -> str:
    """OpenAI's APIs have no field that says that a call failed."""
    return f"Error: {call.result}" if call.is_error else call.result


def _chat_part(part: Part) -> Item:
    if isinstance(part, str):
        return _text(part)
    if isinstance(part, Document):
        return {"type": "file", "file": {"filename": part.name, "file_data": part.url}}
    return {"type": "image_url", "image_url": {"url": part.url}}


def _chat_call(call: Call) -> Item:
    function = {"name": call.name, "arguments": _dump(call.arguments)}
    return {"type": "function", "id": call.id, "function": function}


def _response_part(part: Part) -> Item:
    if isinstance(part, str):
        return {"type": "input_text", "text": part}
    if isinstance(part, Document):
        return {"type": "input_file", "filename": part.name, "file_data": part.url}
    return {"type": "input_image", "image_url": part.url, "detail": "auto"}


def _block(part: Part) -> Item:
    if isinstance(part, str):
        return _text(part)
    if isinstance(part, Document):
        source = {"type": "base64", "media_type": "application/pdf", "data": part.base64}
        return {"type": "document", "source": source, "title": part.name}
    return {
        "type": "image",
        "source": {"type": "base64", "media_type": part.media_type, "data": part.base64},
    }


def _tool_use(call: Call) -> Item:
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}


def _tool_result(call: Call) -> Item:
    result = {"type": "tool_result", "tool_use_id": call.id, "content": call.result}
    return {**result, "is_error": True} if call.is_error else result


def _strip_end(blocks: list[Item]) -> None:
    """The model goes on from a last text of the assistant, which may not end with white space."""
    blocks[-1]["text"] = blocks[-1]["text"].rstrip()
