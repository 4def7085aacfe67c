"""The chunks that are known: one table of rules for each library or API.

New events of a known API are ignored, so that a new version of it breaks no worker.
"""

from __future__ import annotations

from .rules import Rule

_CHAT = {"object": "chat.completion.chunk"}
OPENAI_CHAT = (
    Rule(when=_CHAT, of="id", each="choices", text="delta.content"),
    Rule(when=_CHAT, of="id", each="choices", text="delta.refusal"),
    Rule(when=_CHAT, of="id", each="choices", reasoning="delta.reasoning_content"),
    Rule(
        when=_CHAT,
        of="id",
        each="choices",
        where={"delta.reasoning_content": None},
        reasoning="delta.reasoning",
    ),
    Rule(
        when=_CHAT,
        of="id",
        each="choices.0.delta.tool_calls",
        call={"key": "index", "id": "id", "name": "function.name", "arguments": "function.arguments"},
    ),
    Rule(when=_CHAT, of="id", each="choices", answer="begun"),
    Rule(when=_CHAT, of="id", each="choices", where={"finish_reason": ...}, end=True, answer="complete"),
    Rule(
        when={**_CHAT, "usage": ...},
        of="id",
        usage={
            "input_tokens": "usage.prompt_tokens",
            "output_tokens": "usage.completion_tokens",
            "cached_input_tokens": "usage.prompt_tokens_details.cached_tokens",
            "reasoning_tokens": "usage.completion_tokens_details.reasoning_tokens",
        },
    ),
    # The result of a call, as a program gives it back to the API.
    Rule(
        when={"role": "tool", "tool_call_id": ..., "type": None},
        result={"id": "tool_call_id", "value": "content"},
    ),
)
"""OpenAI's chat completions, and those of all servers that have the same API."""

OPENAI_RESPONSES = (
    Rule(when={"type": "response.*"}),
    Rule(when={"type": ("response.output_text.delta", "response.refusal.delta")}, of="item_id", text="delta"),
    Rule(
        when={"type": ("response.reasoning_text.delta", "response.reasoning_summary_text.delta")},
        of="item_id",
        reasoning="delta",
    ),
    # By its place, for servers that give an item no id of its own.
    Rule(
        when={"type": "response.output_item.added", "item.type": "function_call"},
        of="output_index",
        call={"id": "item.call_id", "name": "item.name", "arguments": "item.arguments"},
    ),
    Rule(
        when={"type": "response.function_call_arguments.delta"},
        of="output_index",
        call={"arguments": "delta"},
    ),
    Rule(when={"type": "response.output_item.done"}, of="item.id", end=True),
    Rule(when={"type": "response.output_item.done"}, of="output_index", end=True),
    Rule(when={"type": "response.created"}, of="response.id", answer="begun"),
    Rule(
        when={"type": ("response.completed", "response.incomplete", "response.failed", "response.cancelled")},
        of="response.id",
        answer="complete",
    ),
    Rule(
        when={"type": ("response.completed", "response.incomplete"), "response.usage": ...},
        of="response.id",
        usage={
            "input_tokens": "response.usage.input_tokens",
            "output_tokens": "response.usage.output_tokens",
            "cached_input_tokens": "response.usage.input_tokens_details.cached_tokens",
            "reasoning_tokens": "response.usage.output_tokens_details.reasoning_tokens",
        },
    ),
    Rule(
        when={"type": "response.failed", "response.error.code": ("server_error", "rate_limit_exceeded")},
        error="response.error.message",
        retryable=True,
    ),
    Rule(when={"type": "response.failed"}, error="response.error.message"),
    Rule(when={"type": "error", "message": ...}, error="message", retryable=True),
    Rule(when={"type": "function_call_output"}, result={"id": "call_id", "value": "output"}),
)
"""The events of OpenAI's Responses API."""

ANTHROPIC = (
    Rule(
        when={"type": ("message_start", "message_stop", "content_block_start", "content_block_delta", "ping")}
    ),
    Rule(
        when={"type": "message_start"},
        of="message.id",
        usage={
            "input_tokens": "message.usage.input_tokens",
            "output_tokens": "message.usage.output_tokens",
            "cached_input_tokens": "message.usage.cache_read_input_tokens",
        },
    ),
    Rule(
        when={"type": "content_block_start", "content_block.type": "text"},
        of="index",
        text="content_block.text",
    ),
    Rule(when={"type": "content_block_delta", "delta.type": "text_delta"}, of="index", text="delta.text"),
    Rule(
        when={"type": "content_block_delta", "delta.type": "thinking_delta"},
        of="index",
        reasoning="delta.thinking",
    ),
    Rule(
        when={"type": "content_block_start", "content_block.type": "tool_use"},
        of="index",
        call={"id": "content_block.id", "name": "content_block.name"},
    ),
    Rule(
        when={"type": "content_block_delta", "delta.type": "input_json_delta"},
        of="index",
        call={"arguments": "delta.partial_json"},
    ),
    Rule(when={"type": "content_block_stop"}, of="index", end=True),
    Rule(when={"type": "message_start"}, of="message.id", answer="begun"),
    Rule(when={"type": "message_stop"}, answer="complete"),
    Rule(when={"type": "message_delta"}, usage={"output_tokens": "usage.output_tokens"}),
    Rule(
        when={
            "type": "error",
            "error.type": ("overloaded_error", "api_error", "rate_limit_error", "timeout_error"),
        },
        error="error.message",
        retryable=True,
    ),
    Rule(when={"type": "error", "error": ...}, error="error.message"),
    Rule(
        when={"type": "tool_result", "tool_use_id": ..., "is_error": (None, False)},
        result={"id": "tool_use_id", "value": "content"},
    ),
    Rule(
        when={"type": "tool_result", "tool_use_id": ..., "is_error": True},
        result={"id": "tool_use_id", "error": "content"},
    ),
    # What the library adds to the API's events says the same again.
    Rule(when={"type": ("text", "thinking", "signature", "input_json", "citation"), "snapshot": ...}),
)
"""The events of Anthropic's messages."""

_SAID = {"type": ("AIMessageChunk", "ai")}
_STREAMED = {"type": "AIMessageChunk"}
LANGCHAIN = (
    Rule(when=_SAID, of="id", reasoning="additional_kwargs.reasoning_content"),
    Rule(when=_SAID, of="id", each="content", where={"type": "thinking"}, reasoning="thinking"),
    Rule(when=_SAID, of="id", each="content", where={"type": "reasoning"}, reasoning="reasoning"),
    Rule(when=_SAID, of="id", text="content"),
    Rule(when=_SAID, of="id", each="content", text=""),
    Rule(when=_SAID, of="id", each="content", where={"type": "text"}, text="text"),
    Rule(
        when={"type": "AIMessageChunk"},
        of="id",
        each="tool_call_chunks",
        call={"key": "index", "id": "id", "name": "name", "arguments": "args"},
    ),
    Rule(
        when={"type": "ai"},
        of="id",
        each="tool_calls",
        call={"key": "id", "id": "id", "name": "name", "arguments": "args"},
    ),
    Rule(
        when={**_SAID, "usage_metadata": ...},
        of="id",
        usage={
            "input_tokens": "usage_metadata.input_tokens",
            "output_tokens": "usage_metadata.output_tokens",
            "cached_input_tokens": "usage_metadata.input_token_details.cache_read",
            "reasoning_tokens": "usage_metadata.output_token_details.reasoning",
        },
        adds=True,
    ),
    Rule(
        when={"type": ("tool", "ToolMessageChunk"), "status": "success"},
        result={"id": "tool_call_id", "value": "content"},
    ),
    Rule(
        when={"type": ("tool", "ToolMessageChunk"), "status": "error"},
        result={"id": "tool_call_id", "error": "content"},
    ),
    # Of chat completions and of the Responses API; what others say of their ends differs.
    Rule(when={**_STREAMED, "response_metadata.model_provider": "openai"}, of="id", answer="begun"),
    Rule(when={**_STREAMED, "response_metadata.finish_reason": ...}, of="id", answer="complete"),
    Rule(
        when={**_STREAMED, "response_metadata.status": ("completed", "incomplete")},
        of="id",
        answer="complete",
    ),
    Rule(when={**_STREAMED, "chunk_position": "last"}, of="id", answer="over"),
    Rule(when={"type": "ai"}, of="id", end=True),
    Rule(when={"type": "AIMessageChunk", "chunk_position": "last"}, of="id", end=True),
    Rule(
        when={
            "type": ("human", "system", "remove", "HumanMessageChunk", "SystemMessageChunk"),
            "additional_kwargs": ...,
        }
    ),
)
"""LangChain's messages, whole and in chunks."""

_MADE = {"role": ("assistant", "computer")}
_SAYS = {"role": "assistant", "type": ("message", "text")}
OPEN_INTERPRETER = (
    Rule(
        when={
            **_MADE,
            "type": ("message", "text", "code", "console", "image", "confirmation", "review"),
        }
    ),
    Rule(when={**_MADE, "start": True}, end=True),
    Rule(when=_SAYS, text="content", author="agent_name"),
    Rule(
        when={**_MADE, "type": "code", "language": None},
        text="content",
        message={"type": "code"},
        data={"language": "format"},
        author="agent_name",
    ),
    Rule(
        when={**_MADE, "type": "code", "language": ...},
        text="content",
        message={"type": "code"},
        data={"language": "language", "format": "format"},
        author="agent_name",
    ),
    Rule(
        when={"role": "computer", "type": "console", "format": (None, "output")},
        text="content",
        message={"role": "tool", "type": "console"},
        author="agent_name",
    ),
    Rule(
        when={"role": "computer", "type": "image", "format": "base64*"},
        image={"base64": "content", "format": "format"},
    ),
    Rule(when={**_MADE, "end": True}, end=True),
)
"""The chunks of ``interpreter.chat(…, stream=True)``."""

INTERPRETER = (
    *OPEN_INTERPRETER,
    Rule(when={"type": "confirmation", "language": None}, confirm={"prompt": "content"}),
    Rule(
        when={"type": "confirmation", "language": ...},
        confirm={"code": "content", "language": "language"},
    ),
)
"""The same, flat, of an object that is connected: it goes on only if the user agrees."""

_ITEM = {"type": "run_item_stream_event"}
OPENAI_AGENTS = (
    Rule(
        when={**_ITEM, "name": ("tool_called", "handoff_requested")},
        call={
            "key": "item.raw_item.call_id",
            "id": "item.raw_item.call_id",
            "name": "item.raw_item.name",
            "arguments": "item.raw_item.arguments",
        },
    ),
    Rule(
        when={**_ITEM, "name": "tool_output"}, result={"id": "item.raw_item.call_id", "value": "item.output"}
    ),
    Rule(
        when={**_ITEM, "name": "handoff_occured"},
        result={"id": "item.raw_item.call_id", "value": "item.raw_item.output"},
    ),
)
"""The events of OpenAI Agents, beside those of the model, which are the Responses API's."""

PYDANTIC_AI = (
    Rule(when={"event_kind": "part_start", "part.part_kind": "text"}, of="index", text="part.content"),
    Rule(
        when={"event_kind": "part_start", "part.part_kind": "thinking"}, of="index", reasoning="part.content"
    ),
    Rule(
        when={"event_kind": "part_delta", "delta.part_delta_kind": "text"},
        of="index",
        text="delta.content_delta",
    ),
    Rule(
        when={"event_kind": "part_delta", "delta.part_delta_kind": "thinking"},
        of="index",
        reasoning="delta.content_delta",
    ),
    Rule(when={"event_kind": "part_end"}, of="index", end=True),
    Rule(
        when={"event_kind": "function_tool_call"},
        call={
            "key": "part.tool_call_id",
            "id": "part.tool_call_id",
            "name": "part.tool_name",
            "arguments": "part.args",
        },
    ),
    Rule(
        when={"event_kind": "function_tool_result", "part.outcome": ("success", "denied", "interrupted")},
        result={"id": "part.tool_call_id", "value": "part.content"},
    ),
    Rule(
        when={"event_kind": "function_tool_result", "part.outcome": ("failed", "retried")},
        result={"id": "part.tool_call_id", "error": "part.content"},
    ),
)
"""The events of pydantic-ai's ``run_stream_events``. Calls appear when they are made, not as they are
written: until then it is not known whether they are the agent's output."""

KNOWN = (*OPENAI_CHAT, *OPENAI_RESPONSES, *ANTHROPIC, *LANGCHAIN, *OPEN_INTERPRETER)
