// Conversations as the libraries of OpenAI and Anthropic take them.

/** What Anthropic's API is told in place of the user where the assistant has the first word. */
const BEGINNING = "(The conversation begins here.)";

/** The `messages` of chat completions. */
export function openAIChat(turns) {
  return turns.flatMap(({ role, parts, calls }) => [
    {
      role,
      ...(parts.length && { content: contentOf(parts.map(chatPart)) }),
      ...(calls.length && { tool_calls: calls.map(chatCall) }),
    },
    ...calls.map((call) => ({ role: "tool", tool_call_id: call.id, content: outputOf(call) })),
  ]);
}

/** The items of the Responses API, its `input`. */
export function openAIResponses(turns) {
  return turns.flatMap(({ role, parts, calls }) => [
    ...(parts.length ? [{ role, content: contentOf(parts.map(responsePart)) }] : []),
    ...calls.map((call) => ({
      type: "function_call",
      call_id: call.id,
      name: call.name,
      arguments: JSON.stringify(call.arguments),
    })),
    ...calls.map((call) => ({ type: "function_call_output", call_id: call.id, output: outputOf(call) })),
  ]);
}

/** The arguments `system`, where there is one, and `messages` of Anthropic's messages. */
export function anthropic(turns) {
  const system = [];
  const messages = [];

  const say = (role, blocks) => {
    if (!messages.length && role === "assistant") messages.push({ role: "user", content: [text(BEGINNING)] });
    if (messages.at(-1)?.role === role) messages.at(-1).content.push(...blocks);
    else messages.push({ role, content: blocks });
  };

  for (const { role, parts, calls } of turns) {
    if (role === "system") {
      system.push(...parts.filter((part) => typeof part === "string"));
      continue;
    }
    say(role, [...parts.map(block), ...calls.map(toolUse)]);
    if (calls.length) say("user", calls.map(toolResult));
  }
  // The model goes on from a last text of the assistant, which may not end with white space.
  const last = messages.at(-1);
  if (last?.role === "assistant") last.content.at(-1).text = last.content.at(-1).text.trimEnd();
  for (const message of messages) message.content = contentOf(message.content);
  return { ...(system.length && { system: system.join("\n\n") }), messages };
}

/** Several texts are one; parts are needed only where there is something else among them. */
function contentOf(parts) {
  return parts.every((part) => "text" in part) ? parts.map((part) => part.text).join("\n\n") : parts;
}

function text(value) {
  return { type: "text", text: value };
}

/** OpenAI's APIs have no field that says that a call failed. */
function outputOf(call) {
  return call.isError ? `Error: ${call.result}` : call.result;
}

function chatPart(part) {
  if (typeof part === "string") return text(part);
  if (part.name !== undefined) return { type: "file", file: { filename: part.name, file_data: part.url } };
  return { type: "image_url", image_url: { url: part.url } };
}

function chatCall(call) {
  return { type: "function", id: call.id, function: { name: call.name, arguments: JSON.stringify(call.arguments) } };
}

function responsePart(part) {
  if (typeof part === "string") return { type: "input_text", text: part };
  if (part.name !== undefined) return { type: "input_file", filename: part.name, file_data: part.url };
  return { type: "input_image", image_url: part.url, detail: "auto" };
}

function block(part) {
  if (typeof part === "string") return text(part);
  if (part.name !== undefined) {
    const source = { type: "base64", media_type: "application/pdf", data: part.base64 };
    return { type: "document", source, title: part.name };
  }
  return { type: "image", source: { type: "base64", media_type: part.mediaType, data: part.base64 } };
}

function toolUse(call) {
  return { type: "tool_use", id: call.id, name: call.name, input: call.arguments };
}

function toolResult(call) {
  return {
    type: "tool_result",
    tool_use_id: call.id,
    content: call.result,
    ...(call.isError && { is_error: true }),
  };
}
