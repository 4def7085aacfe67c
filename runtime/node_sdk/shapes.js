// The chunks that are known: one table of rules for each API. They are those of the Python SDK
// (adapters/shapes.py), which a test compares. New events of a known API are ignored.

/** OpenAI's chat completions, and those of all servers that have the same API. */
export const OPENAI_CHAT = [
  { when: { object: "chat.completion.chunk" }, each: "choices", of: "id", text: "delta.content" },
  { when: { object: "chat.completion.chunk" }, each: "choices", of: "id", text: "delta.refusal" },
  {
    when: { object: "chat.completion.chunk" },
    each: "choices",
    of: "id",
    reasoning: "delta.reasoning_content",
  },
  {
    when: { object: "chat.completion.chunk" },
    each: "choices",
    where: { "delta.reasoning_content": null },
    of: "id",
    reasoning: "delta.reasoning",
  },
  {
    when: { object: "chat.completion.chunk" },
    each: "choices.0.delta.tool_calls",
    of: "id",
    call: { key: "index", id: "id", name: "function.name", arguments: "function.arguments" },
  },
  { when: { object: "chat.completion.chunk" }, each: "choices", of: "id", answer: "begun" },
  {
    when: { object: "chat.completion.chunk" },
    each: "choices",
    where: { finish_reason: "*" },
    of: "id",
    end: true,
    answer: "complete",
  },
  {
    when: { object: "chat.completion.chunk", usage: "*" },
    of: "id",
    usage: {
      input_tokens: "usage.prompt_tokens",
      output_tokens: "usage.completion_tokens",
      cached_input_tokens: "usage.prompt_tokens_details.cached_tokens",
      reasoning_tokens: "usage.completion_tokens_details.reasoning_tokens",
    },
  },
  { when: { role: "tool", tool_call_id: "*", type: null }, result: { id: "tool_call_id", value: "content" } },
];

/** The events of OpenAI's Responses API. */
export const OPENAI_RESPONSES = [
  { when: { type: "response.*" } },
  { when: { type: ["response.output_text.delta", "response.refusal.delta"] }, of: "item_id", text: "delta" },
  {
    when: { type: ["response.reasoning_text.delta", "response.reasoning_summary_text.delta"] },
    of: "item_id",
    reasoning: "delta",
  },
  {
    when: { type: "response.output_item.added", "item.type": "function_call" },
    of: "output_index",
    call: { id: "item.call_id", name: "item.name", arguments: "item.arguments" },
  },
  {
    when: { type: "response.function_call_arguments.delta" },
    of: "output_index",
    call: { arguments: "delta" },
  },
  { when: { type: "response.output_item.done" }, of: "item.id", end: true },
  { when: { type: "response.output_item.done" }, of: "output_index", end: true },
  { when: { type: "response.created" }, of: "response.id", answer: "begun" },
  {
    when: { type: ["response.completed", "response.incomplete", "response.failed", "response.cancelled"] },
    of: "response.id",
    answer: "complete",
  },
  {
    when: { type: ["response.completed", "response.incomplete"], "response.usage": "*" },
    of: "response.id",
    usage: {
      input_tokens: "response.usage.input_tokens",
      output_tokens: "response.usage.output_tokens",
      cached_input_tokens: "response.usage.input_tokens_details.cached_tokens",
      reasoning_tokens: "response.usage.output_tokens_details.reasoning_tokens",
    },
  },
  {
    when: { type: "response.failed", "response.error.code": ["server_error", "rate_limit_exceeded"] },
    error: "response.error.message",
    retryable: true,
  },
  { when: { type: "response.failed" }, error: "response.error.message" },
  { when: { type: "error", message: "*" }, error: "message", retryable: true },
  { when: { type: "function_call_output" }, result: { id: "call_id", value: "output" } },
];

/** The events of Anthropic's messages. */
export const ANTHROPIC = [
  { when: { type: ["message_start", "message_stop", "content_block_start", "content_block_delta", "ping"] } },
  {
    when: { type: "message_start" },
    of: "message.id",
    usage: {
      input_tokens: "message.usage.input_tokens",
      output_tokens: "message.usage.output_tokens",
      cached_input_tokens: "message.usage.cache_read_input_tokens",
    },
  },
  {
    when: { type: "content_block_start", "content_block.type": "text" },
    of: "index",
    text: "content_block.text",
  },
  { when: { type: "content_block_delta", "delta.type": "text_delta" }, of: "index", text: "delta.text" },
  {
    when: { type: "content_block_delta", "delta.type": "thinking_delta" },
    of: "index",
    reasoning: "delta.thinking",
  },
  {
    when: { type: "content_block_start", "content_block.type": "tool_use" },
    of: "index",
    call: { id: "content_block.id", name: "content_block.name" },
  },
  {
    when: { type: "content_block_delta", "delta.type": "input_json_delta" },
    of: "index",
    call: { arguments: "delta.partial_json" },
  },
  { when: { type: "content_block_stop" }, of: "index", end: true },
  { when: { type: "message_start" }, of: "message.id", answer: "begun" },
  { when: { type: "message_stop" }, answer: "complete" },
  { when: { type: "message_delta" }, usage: { output_tokens: "usage.output_tokens" } },
  {
    when: {
      type: "error",
      "error.type": ["overloaded_error", "api_error", "rate_limit_error", "timeout_error"],
    },
    error: "error.message",
    retryable: true,
  },
  { when: { type: "error", error: "*" }, error: "error.message" },
  {
    when: { type: "tool_result", tool_use_id: "*", is_error: [null, false] },
    result: { id: "tool_use_id", value: "content" },
  },
  {
    when: { type: "tool_result", tool_use_id: "*", is_error: true },
    result: { id: "tool_use_id", error: "content" },
  },
  { when: { type: ["text", "thinking", "signature", "input_json", "citation"], snapshot: "*" } },
];
