// The conversation as turns: what the APIs of models have in common, whatever their spelling.
//
// They agree that a turn of the assistant has texts and calls of functions, that each call is followed
// by its result at once, and that the turns of one role do not follow each other. The messages of a
// thread need not: a run that was cancelled leaves a call without a result, calls that ran at the same
// time end in any order, and a picture and its question are two messages.
import { Message, asText } from "./messages.js";

const NOT_FINISHED = "The call was not finished.";
const FAILED = "The call failed.";
/** An id of a call that every API accepts. */
const ID = /^[a-zA-Z0-9_-]{1,40}$/;
const LONGEST_NAME = 64;
/** Files that models see, and those that are text. */
const SEEN = new Set(["image/png", "image/jpeg", "image/gif", "image/webp"]);
const PDF = "application/pdf";
const TEXTS = new Set([
  "application/json", "application/x-ndjson", "application/yaml", "application/xml", "application/toml",
]);
/** Bytes of a text file that a model is given. */
const MOST_TEXT = 400_000;
/** Messages of the goal that go ahead of a window, and as many system messages: the newest of each. */
const MOST_AHEAD = 10;
/** What models see. */
const PICTURE = /^data:(image\/(?:png|jpeg|gif|webp));base64,([A-Za-z0-9+/]+=*)$/;

/**
 * The turns of a conversation: `{role, parts, calls}`, where a part is a text, a picture
 * `{mediaType, base64, url}` or a document `{name, base64, url}`, and a call `{id, name, arguments, result, isError}`.
 */
export function turns(messages, { system, tools = true, pictures = true } = {}) {
  const shown = [...messages].filter((message) => message.channel !== "reasoning");
  if (system) shown.unshift(new Message({ role: "system", content: system }));
  return new Turns(shown, tools, pictures).made;
}

class Turns {
  made = [];
  /** Whether the last turn has the result of a call: what the assistant says then is another. */
  #closed = false;
  #ids = new Set();

  constructor(messages, tools, pictures) {
    const results = tools ? resultsOf(messages) : new Map();
    const callers = new Map();
    messages.forEach((message, place) => {
      if (callers.has(place)) {
        this.#closed ||= callers.get(place) === this.made.at(-1);
      } else if (tools && isCall(message)) {
        const answer = results.get(place);
        const turn = this.#addCall(message, answer === undefined ? message : messages[answer]);
        if (answer === undefined) this.#closed = true;
        else callers.set(answer, turn);
      } else {
        this.#addParts(message, pictures);
      }
    });
  }

  #addCall(message, answer) {
    const turn = this.#turn("assistant");
    turn.calls.push({
      id: this.#unique(message.data.call_id),
      name: functionName(String(message.data.name || "function")),
      arguments: argumentsOf(message),
      ...resultOf(answer),
    });
    return turn;
  }

  #addParts(message, pictures) {
    const role = message.role === "tool" ? "assistant" : message.role;
    const picture = pictures && role === "user" ? pictureOf(message) : null;
    const files = role === "user" ? message.files.map((file) => partOf(file, pictures)) : [];
    const text = message.asText();
    const parts = [...(picture ? [picture] : []), ...files, ...(text.trim() ? [text] : [])];
    if (parts.length) this.#turn(role).parts.push(...parts);
  }

  #turn(role) {
    if (this.made.at(-1)?.role !== role || this.#closed) {
      this.made.push({ role, parts: [], calls: [] });
      this.#closed = false;
    }
    return this.made.at(-1);
  }

  /** The id, where no call before has the same and all APIs accept it; otherwise another. */
  #unique(callId) {
    let id = typeof callId === "string" && ID.test(callId) ? callId : "call_1";
    for (let number = 1; this.#ids.has(id); number++) id = `call_${number}`;
    this.#ids.add(id);
    return id;
  }
}

/**
 * The newest `size` messages, and before them the system messages and the goal, which is what a person
 * said last. `roles`, `types`: only messages of these. A call and its result are both there, or neither is.
 */
export function window(messages, size, { roles, types } = {}) {
  if (!(size >= 0)) throw new RangeError("a window has a size of at least 0 messages");
  const results = resultsOf(messages);
  const shown = new Set(
    [...messages.keys()].filter(
      (place) => (roles?.includes(messages[place].role) ?? true) && (types?.includes(messages[place].type) ?? true),
    ),
  );
  for (const [call, result] of results) if (!shown.has(result)) shown.delete(call);
  const kept = new Set(size > 0 ? [...shown].slice(-size) : []);
  for (const [call, result] of results) if (!kept.has(call)) kept.delete(result);
  const withCall = new Set(results.values());
  for (const place of [...kept]) {
    if (messages[place].role !== "tool") break;
    if (isResult(messages[place]) && !withCall.has(place)) kept.delete(place); // the pool has cut off its call
  }
  const ahead = new Set(aheadOf(messages));
  return messages.filter((_, place) => kept.has(place) || (shown.has(place) && ahead.has(place)));
}

/** The places of what must not be lost: the system messages, and what a person said last. */
function aheadOf(messages) {
  const places = [...messages.keys()];
  const system = places.filter((place) => messages[place].role === "system");
  const goal = places.slice(...lastTurnOfPerson(messages));
  return [...system.slice(-MOST_AHEAD), ...goal.slice(-MOST_AHEAD)];
}

/** The name of a function as every API accepts it. */
export function functionName(name) {
  return name.replace(/[^a-zA-Z0-9_-]/gu, "_").slice(0, LONGEST_NAME);
}

function isCall(message) {
  return message.type === "function" && message.role === "assistant";
}

function isResult(message) {
  return message.type === "function" && message.role === "tool";
}

/** Where the results of calls are: the place of a call → that of the message with its result. */
function resultsOf(messages) {
  const found = new Map();
  const waiting = [];
  messages.forEach((message, place) => {
    if (isCall(message) && !("result" in message.data)) {
      waiting.push(place);
    } else if (isResult(message)) {
      const calls = waiting.filter((call) => belongs(message.data, messages[call].data));
      if (!calls.length) return;
      const call = message.data.call_id == null ? calls[0] : calls.at(-1);
      waiting.splice(waiting.indexOf(call), 1);
      found.set(call, place);
    }
  });
  return found;
}

/** Whether a result is that of a call: by their ids, or by the function's name where there is none. */
function belongs(result, call) {
  if ((result.call_id ?? null) !== (call.call_id ?? null)) return false;
  return result.call_id != null || result.name == null || result.name === call.name;
}

function lastTurnOfPerson(messages) {
  let end = messages.length;
  while (end && !isOfPerson(messages[end - 1])) end--;
  let start = end;
  while (start && isOfPerson(messages[start - 1])) start--;
  return [start, end];
}

/** A prompt by which a session goes on by itself has the author "auto". */
function isOfPerson(message) {
  return message.role === "user" && message.author !== "auto";
}

function resultOf(message) {
  if (message.role !== "tool" && !("result" in message.data)) return { result: NOT_FINISHED, isError: true };
  const isError = message.data.is_error === true;
  const result = asText("result" in message.data ? message.data.result : message.content);
  return { result: result.trim() || !isError ? result : FAILED, isError };
}

/** As an object, which all functions have; a model may have written anything, or half of it. */
function argumentsOf(message) {
  let given = "arguments" in message.data ? message.data.arguments : message.content;
  if (typeof given === "string") {
    try {
      given = JSON.parse(given);
    } catch {
      // it is what the model has written
    }
  }
  if (given !== null && typeof given === "object" && !Array.isArray(given)) return given;
  return given === null || given === "" ? {} : { arguments: given };
}

/** Whether a model can be given a file, which has to be read for that. */
export function isForModels(file, pictures = true) {
  return isText(file) || (pictures && (SEEN.has(file.type) || file.type === PDF));
}

function isText(file) {
  return file.type.startsWith("text/") || TEXTS.has(file.type);
}

function partOf(file, pictures) {
  const { name, type, size, content } = file;
  if (content && isText(file)) {
    const cut = size > MOST_TEXT ? "\n(The rest of the file is left out.)" : "";
    return `File ${name}:\n\n${content.subarray(0, MOST_TEXT).toString()}${cut}`;
  }
  if (!content || !isForModels(file, pictures)) {
    return `(File ${name}, ${type}, ${size} bytes, which cannot be shown here.)`;
  }
  const base64 = content.toString("base64");
  const url = `data:${type};base64,${base64}`;
  return type === PDF ? { name, base64, url } : { mediaType: type, base64, url };
}

function pictureOf(message) {
  const url = message.type === "image" ? message.data.url : null;
  const match = typeof url === "string" ? PICTURE.exec(url) : null;
  return match && { mediaType: match[1], base64: match[2], url };
}
