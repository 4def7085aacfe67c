// The run as its worker sees it: its input, and how it answers.
import { Calls } from "./calls.js";
import { Cancelled, Failure, Suspended } from "./errors.js";
import { make } from "./files.js";
import { anthropic, openAIChat, openAIResponses } from "./formats.js";
import { Knowledge } from "./knowledge.js";
import { log } from "./logs.js";
import { Message } from "./messages.js";
import { announce } from "./progress.js";
import { MAX_VALUE, Steps, currentStep, digestOf, refuseWithin } from "./steps.js";
import { ToolCall } from "./tools.js";
import { isForModels, turns, window } from "./turns.js";

const EVENTS = new Set([
  "start", "delta", "end", "message", "step", "usage", "confirm", "save", "inbox", "call", "follow", "discard", "finish",
  "send",
  "state", "done", "error",
]);
/** What the function of a durable step may say: it is missing in a later attempt, and nothing is lost. */
const ALLOWED_IN_STEPS = new Set(["step", "error"]);

/** A message that the worker streams. */
class OpenMessage {
  #run;
  #ref;
  #isSent;

  /** `isSent`: whether the pool knows it, and not an earlier process of the run only. */
  constructor(run, ref, isSent) {
    this.#run = run;
    this.#ref = ref;
    this.#isSent = isSent;
  }

  /** Append `text`. */
  delta(text) {
    if (this.#ref === null) throw new Error("the message has ended");
    if (checkedText(text) && this.#isSent) this.#run.emit({ type: "delta", ref: this.#ref, text });
  }

  /** Complete the message; `data` is merged into its first. A second call does nothing. */
  end(data) {
    const ref = this.#ref;
    this.#ref = null;
    if (ref !== null && this.#isSent) this.#run.emit({ type: "end", ref, data });
  }

  [Symbol.dispose ?? Symbol.for("dispose")]() {
    this.end();
  }
}

/** The run that a worker executes, and how it answers. */
export class Run {
  #exchange;
  #steps;
  #calls = null;
  #knowledge;
  #answers;
  /** Answered questions that this process has not reached yet: until it has, it repeats, and emits nothing. */
  #unconsumed;
  /** The ids of answered questions that this process has reached, in order. */
  #reached = [];
  #goesOn;
  #continued = new Set();
  #state;
  #finish = null;
  /** The state that the pool knows, as JSON; null: nobody has looked at it. */
  #stateSent = null;
  #refs = 0;
  #callIds = 0;
  #questions = 0;
  #openTools = new Set();
  #ended = false;
  #stopping = new AbortController();
  #isTold = false;
  #looksAtSignal = false;
  #inbox = null;
  /** What ends the servers whose tools it has. */
  #ends = [];

  /** `line`: the first line from the pool, which the `exchange` leads to. */
  constructor(line, exchange) {
    this.fields = line.run ?? {};
    this.config = line.config ?? {};
    this.args = line.args ?? null;
    this.messages = (line.messages ?? []).map((fields) => new Message(fields));
    this.earlier = (line.earlier ?? []).map((fields) => new Message(fields));
    this.open = (line.open ?? []).map((fields) => new Message(fields));
    this.thread = line.thread ?? {};
    this.incoming = line.message ?? null;
    this.cancelled = false;
    this.handedBack = false;
    this.#exchange = exchange;
    this.#steps = new Steps(line.saved ?? {}, line.digests ?? {}, exchange);
    this.#knowledge = new Knowledge(line.passages ?? []);
    this.#answers = new Map((line.answers ?? []).map((answer) => [answer.confirmation_id, answer]));
    this.#unconsumed = new Set(this.#answers.keys());
    this.#goesOn = Boolean(line.continued);
    this.#state = line.state ?? null;
  }

  get id() {
    return String(this.fields.id ?? "");
  }

  get threadId() {
    return String(this.fields.thread_id ?? "");
  }

  get attempt() {
    return Number(this.fields.attempt ?? 1);
  }

  /** Aborted when the run is to stop, with Cancelled as the reason: `fetch(url, { signal: run.signal })`. */
  get signal() {
    this.#looksAtSignal = true;
    return this.#stopping.signal;
  }

  /** JSON that the worker before this one on the branch has kept; what is in it at the end is given to the next. */
  get state() {
    this.#state ??= {};
    this.#stateSent ??= JSON.stringify(this.#state);
    return this.#state;
  }

  set state(value) {
    this.#stateSent ??= "";
    this.#state = value;
    this.#sendState();
  }

  /** The messages that are sent to the run while it is under way: `for await (const message of run.inbox())`. */
  get inbox() {
    this.#inbox ??= this.#makeInbox();
    return this.#inbox;
  }

  // ── the conversation ──────────────────────────────────────────────────────

  /** The messages as chat models take them: pairs of role and text. */
  conversation() {
    return this.messages
      .filter((message) => message.channel !== "reasoning")
      .map((message) => [message.role === "tool" ? "assistant" : message.role, message.asText()])
      .filter(([, text]) => text.trim());
  }

  /** Read the files of the user that models can be given; asOpenAI and asAnthropic name the others only. */
  async readFiles() {
    const files = this.messages.filter(({ role }) => role === "user").flatMap((message) => message.files);
    await Promise.all(files.filter((file) => isForModels(file)).map((file) => file.read()));
  }

  /** The newest `size` messages (of `roles` and `types`), and before them the system messages and the goal. */
  window(size, options) {
    return window(this.messages, size, options);
  }

  /** The conversation as OpenAI's APIs take it: `api` is "chat" or "responses". */
  asOpenAI(api = "chat", { messages = this.messages, ...options } = {}) {
    if (api !== "chat" && api !== "responses") {
      throw new RangeError(`the API is "chat" or "responses", not ${JSON.stringify(api)}`);
    }
    return (api === "chat" ? openAIChat : openAIResponses)(turns(messages, options));
  }

  /** The conversation as Anthropic's messages take it: `messages` and, where there are instructions, `system`. */
  asAnthropic({ messages = this.messages, ...options } = {}) {
    return anthropic(turns(messages, options));
  }

  // ── what it says ──────────────────────────────────────────────────────────

  /** Append to the answer; the same as yielding `text`. */
  delta(text) {
    if (checkedText(text)) this.emit({ type: "delta", text });
  }

  /** Emit a complete message. */
  message(content, { files = [], ...head } = {}) {
    const named = files.length ? files.map((file) => file.id) : undefined;
    this.emit({ type: "message", content: checkedText(content), ...headOf(head), files: named });
  }

  /**
   * Make a file, and show it in a message, with a `text` if you like; the promise has the file.
   *
   * `content`: a text or bytes. A later attempt that makes the same gets the same file.
   */
  async file(name, content, { type, text = "", show = true } = {}) {
    refuseWithin("making a file");
    const file = await make(name, content, type);
    if (show) this.message(text, { files: [file] });
    return file;
  }

  /**
   * The `k` passages (1 to 50) of the user's knowledge base that fit best, the best first.
   *
   * `source`: the name of the only one that is searched. worker.toml has to grant it:
   * `grants = ["knowledge"]`. Rejects with Failure.
   */
  async search(query, { k = 5, source } = {}) {
    return this.#knowledge.search(query, k, source);
  }

  /**
   * Add a document, bytes or a text, to the source of that name, or replace the one that it has of this `name`.
   *
   * It is committed when the promise is fulfilled: true, or false where it was there with the same content.
   * `kind`: markdown, html or text, where the name does not say it; `digest`: of the file that the content
   * is made of; `validator`: what `findDocument` gives back, such as the ETag of a page.
   */
  async addDocument(source, name, content, { kind, digest, validator } = {}) {
    return this.#knowledge.add(source, name, content, { kind, digest, validator });
  }

  /** The document of that name in the source of that name: its `digest` and `validator`; null: there is none. */
  async findDocument(source, name) {
    return this.#knowledge.find(source, name);
  }

  /** Emit an image of at most 750 kB; `alt` describes it. */
  image(picture, alt, mediaType = "image/png") {
    const url = `data:${mediaType};base64,${Buffer.from(picture).toString("base64")}`;
    this.message(alt, { type: "image", data: { url } });
  }

  /** Start a message that is streamed. Where a lost attempt was writing one of the same kind, that goes on. */
  start(head = {}) {
    const ref = String(++this.#refs);
    const isSent = !this.#unconsumed.size;
    const continues = isSent ? this.#leftOpen(head) : undefined;
    this.emit({ type: "start", ref, ...headOf(head), continues });
    return new OpenMessage(this, ref, isSent);
  }

  #leftOpen({ role = "assistant", type = "text", channel = "answer" }) {
    const found = this.open.find(
      (message) =>
        message.role === role && message.type === type && message.channel === channel && !this.#continued.has(message.id),
    );
    if (found) this.#continued.add(found.id);
    return found?.id;
  }

  /**
   * A call of a function: its message, and one with its result.
   *
   * With `fn` it is what that returns, or the error that it throws, which goes on; the promise is of
   * what `fn` returns. Without, a ToolCall, whose `result` is to be called.
   */
  tool(name, args, fn, { id } = {}) {
    const given = typeof args === "function" ? [undefined, args] : [args, fn];
    const callId = id ?? `call_${this.id.slice(-12)}_${++this.#callIds}`;
    const call = new ToolCall(this, name, given[0], callId, (ended) => this.#openTools.delete(ended));
    this.#openTools.add(call);
    return given[1] ? call.of(given[1]) : call;
  }

  /** Announce what the worker does next; with `fn` until that has ended, where the step around it goes on. */
  step(description, fn) {
    return announce(description, (text) => this.emit({ type: "step", description: text }), fn);
  }

  /** Write a line to the run's log, with `fields` as `name=value`; `level`: debug, info, warning, error. */
  log(message, fields = {}, level = "info") {
    log(message, fields, level);
  }

  /** What this attempt has used so far; within a step, what that has used. */
  usage(amounts) {
    const step = currentStep();
    if (step) Object.assign(step.usage, amounts);
    else this.emit({ ...amounts, type: "usage" });
  }

  /** Send an event of the protocol. */
  emit(event) {
    if (!EVENTS.has(event?.type)) {
      throw new TypeError(`${JSON.stringify(event?.type)} is no event of the protocol; one of ${[...EVENTS].join(", ")} is`);
    }
    if (!ALLOWED_IN_STEPS.has(event.type)) refuseWithin("what the worker says");
    this.#tell();
    if (!this.#unconsumed.size && !this.#ended) this.#exchange.write(event);
  }

  // ── what it asks ──────────────────────────────────────────────────────────

  /**
   * Take a step once: call `fn` with the arguments, commit its result, and give that.
   *
   * In every later attempt, whatever ended this one, it gives that result and calls nothing. Without a
   * key, `run.once(null, fn)`, it is called by its function's name and how many of that name were before.
   * `run.once(fn)` is a function that takes such a step.
   */
  once(key, fn, ...args) {
    return this.#steps.once(key, fn, args);
  }

  /** An idempotency key for services: the same in every attempt of this run, and in no other run. */
  key(key) {
    return `${this.id}:${key}`;
  }

  /**
   * Ask the user. The promise has the answer once it is there.
   *
   * This process ends here, and the worker is started again with the answer, from its beginning.
   */
  async confirm(prompt, { options = [], schema, id } = {}) {
    refuseWithin("a question");
    const question = id ?? String(++this.#questions);
    if (this.#unconsumed.size && !this.#answers.has(question)) this.#checkRepeated();
    return this.#ask(question, withDigest({ prompt, options, schema }));
  }

  #ask(question, asked) {
    const answer = this.#answers.get(question);
    if (answer) {
      this.#unconsumed.delete(question);
      this.#reached.push(question);
      if ((answer.digest ?? asked.digest) !== asked.digest) {
        throw new Failure(`The question ${JSON.stringify(question)} asks something else than was answered.`);
      }
      return answer.answer;
    }
    this.#unconsumed.clear();
    const { schema, call, ...rest } = asked;
    this.emit({ type: "confirm", ...rest, schema: schema ?? undefined, call, id: question });
    this.#ended = true;
    throw new Suspended();
  }

  /**
   * Have another worker run, as a run of its own below this one, which is under way at once.
   *
   * `await` it for its result, or iterate over it, `for await`, for its text as it comes. A later attempt
   * of this run finds the same sub-run by its `id`; those that are made at the same time need ids.
   */
  call(worker, messages = [], { config, args, files, id } = {}) {
    refuseWithin("a call");
    this.#tell();
    this.#calls ??= new Calls(this.#exchange, (question, asked) => this.#ask(question, asked));
    return this.#calls.call(worker, messages, { config, args, files, id });
  }

  /** The tools of MCP servers, by name, as functions. The servers end with the run. */
  async mcp(servers) {
    const { Tools } = await import("./mcp.js");
    const ask = (id, question) => this.#ask(id, withDigest(question));
    const tools = new Tools(this, { signal: this.#stopping.signal, ask, reached: this.#reached });
    this.#ends.push(() => tools.close());
    return tools.open(servers);
  }

  /**
   * The goal is reached: the session that the run belongs to goes on no more by itself.
   * `reason`: a sentence for its user. It counts once the run has succeeded.
   */
  finish(reason = "") {
    this.#finish = String(reason);
  }

  /**
   * Send a message to another entity of the system, once this one has been handled with success.
   * Without `to` and `kind` it goes where the channels lead. Outside of a system it does nothing.
   */
  send(content, { to, kind, data = {}, replyTo } = {}) {
    this.emit({ type: "send", to, kind, body: { content, data }, reply_to: replyTo });
  }

  /** Begin anew, without what a lost attempt has left; it does nothing where there is nothing. */
  discard() {
    if (!this.#goesOn) return;
    this.#unconsumed.clear(); // what was written before an answered question stays
    this.emit({ type: "discard" });
    this.#ended = true;
    throw new Suspended();
  }

  #makeInbox() {
    const poll = async () => {
      refuseWithin("a look into the inbox");
      const line = { type: "inbox", ...(this.#unconsumed.size && { earlier: true }) };
      const { message } = await this.#exchange.ask(line, "inbox");
      return message ? new Message(message) : null;
    };
    const arrived = async function* () {
      for (let message; (message = await poll()) !== null; ) yield message;
    };
    return Object.assign(arrived, { poll });
  }

  // ── how it ends; for the driver ───────────────────────────────────────────

  /** Whether nothing more is said: it has ended, or waits for its user. */
  get hasEnded() {
    return this.#ended;
  }

  /** Whether the worker can know that it is to stop. */
  get isTold() {
    return this.#isTold || this.#looksAtSignal;
  }

  /** Stop the worker, once. `isLast`: the pool will answer nothing any more. */
  cancel({ handedBack, isLast }) {
    const error = new Cancelled();
    if (!this.cancelled) {
      this.cancelled = true;
      this.handedBack = handedBack;
      this.#stopping.abort(error);
    }
    this.#exchange.stop(error, isLast);
  }

  /** Throw Cancelled, once, where the worker is to stop and does not look at the signal. */
  #tell() {
    if (!this.cancelled || this.isTold) return;
    this.#isTold = true;
    throw this.#stopping.signal.reason;
  }

  /** Emit what the worker yielded or returned. */
  output(value) {
    if (typeof value === "string") this.delta(value);
    else if (value && typeof value === "object") this.emit(value);
    else if (value !== undefined && value !== null) {
      throw new TypeError(`a worker yields text or an event of the protocol, not a ${typeof value}`);
    }
  }

  done() {
    if (this.#ended) return;
    if (this.#unconsumed.size) this.#checkRepeated();
    this.#isTold = true;
    if (this.#finish !== null) this.emit({ type: "finish", reason: this.#finish });
    this.#sendState();
    this.emit({ type: "done" });
    this.#ended = true;
  }

  /** It has failed with `error`, which the user is told. */
  fail(error) {
    this.#unconsumed.clear();
    this.#isTold = true;
    this.leave(error);
    const message = error instanceof Failure ? error.message : describe(error);
    this.emit({ type: "error", message, retryable: Boolean(error?.retryable) });
    this.#ended = true;
  }

  /** It ends early: no call is left open, and the state is sent if it can be. */
  leave(error) {
    this.#isTold = true;
    if (this.#ended) return;
    for (const call of [...this.#openTools]) call.close(error);
    try {
      this.#sendState();
    } catch {
      // one that cannot be sent is left out
    }
  }

  /** End what it has started, once nothing more is said. */
  async close() {
    await Promise.allSettled(this.#ends.splice(0).map((end) => end()));
  }

  #sendState() {
    if (this.#stateSent === null) return;
    const text = JSON.stringify(this.#state ?? null);
    if (text === this.#stateSent || this.#unconsumed.size || this.#ended) return;
    if (text.length > MAX_VALUE) throw new RangeError(`the state of a run is at most ${MAX_VALUE} bytes of JSON`);
    this.#stateSent = text;
    this.#exchange.write({ type: "state", value: this.#state ?? null });
  }

  #checkRepeated() {
    const missing = [...this.#unconsumed].map((id) => JSON.stringify(id)).sort().join(", ");
    throw new Failure(
      `The worker did not reach its answered question ${missing} again; ` +
        "up to a question it must do the same every time.",
    );
  }
}

function headOf({ role = "assistant", type = "text", channel = "answer", author, data }) {
  return { role, message_type: type, channel, author, data };
}

/** A question, with what an answer to it is known by. */
function withDigest({ prompt, options, schema }) {
  return { prompt, options, schema, digest: digestOf([prompt, options, schema ?? null]) };
}

function checkedText(text) {
  if (typeof text !== "string") throw new TypeError(`a text must be a string, not ${text === null ? "null" : typeof text}`);
  return text;
}

/** An error as the run's user is told it. */
export function describe(error) {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}
