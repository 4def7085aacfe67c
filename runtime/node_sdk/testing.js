// A worker in a test: executed in the test's own process, without a server.
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

import { textOf } from "./calls.js";
import { execute as executeRun, runOf } from "./driver.js";
import { Exchange } from "./exchange.js";
import { Message } from "./messages.js";

let imports = 0;
/** What of its input the first line of an attempt has. */
const GIVEN = [
  "config", "args", "messages", "answers", "saved", "digests", "state", "thread", "earlier", "passages",
];

/**
 * Execute a worker: its function, or its file. The promise is of a Result.
 *
 * `messages`: a text of the user, or a list of texts and of messages as the protocol has them.
 */
export async function execute(worker, messages = [], options = {}) {
  return attempt(worker, {
    config: {},
    args: null,
    state: null,
    thread: { id: "thread-1", title: null, metadata: {} },
    calls: {},
    inbox: [],
    passages: [],
    ...options,
    messages: conversation(messages),
    answers: [],
    saved: {},
    digests: {},
    earlier: [],
    usage: {},
    attempt: 1,
  });
}

async function attempt(worker, input) {
  const pool = new Pool(input);
  const run = runOf(pool.firstLine, pool.exchange);
  pool.cancel = () => run.cancel({ handedBack: false });
  const fn = await functionOf(worker);
  await executeRun(fn, pool.firstLine, run);
  return new Result(worker, input, pool);
}

async function functionOf(worker) {
  if (typeof worker === "function") return worker;
  const url = worker instanceof URL ? worker.href : pathToFileURL(resolve(worker)).href;
  const module = await import(`${url}?execution=${++imports}`); // anew, as a process would
  return typeof module.default === "function" ? module.default : module.run;
}

/** What stands for the pool: it takes what the run says, and answers. */
class Pool {
  exchange = new Exchange((line) => this.#receive(JSON.parse(line)));
  events = [];
  messages = [];
  status = null;
  question = null;
  error = null;
  cancel = () => {};
  #input;
  #open = new Map();
  /** What was used before this attempt, and by its steps. */
  #before;
  #reported = {};

  constructor(input) {
    this.#input = input;
    this.saved = { ...input.saved };
    this.digests = { ...input.digests };
    this.inbox = [...input.inbox];
    this.state = input.state;
    this.#before = input.usage;
    this.firstLine = {
      type: "run",
      protocol: 1,
      run: { id: "run-1", thread_id: input.thread.id, attempt: input.attempt },
      ...Object.fromEntries(
        GIVEN.map((name) => [name, structuredClone(input[name])]),
      ),
    };
  }

  #receive(event) {
    this.events.push(event);
    switch (event.type) {
      case "delta":
        this.#openMessage(event.ref ?? "").content += event.text;
        break;
      case "start":
        this.#begin(event.ref, event);
        break;
      case "end":
        Object.assign(this.#openMessage(event.ref).data, event.data);
        this.#open.delete(event.ref);
        break;
      case "message":
        this.#open.delete("");
        this.#begin(null, event);
        break;
      case "usage":
        this.#reported = { ...this.#reported, ...event };
        break;
      case "state":
        this.state = event.value;
        break;
      case "save":
        this.saved[event.key] = event.value;
        this.digests[event.key] = event.digest;
        this.#before = added(this.#before, event.usage ?? {});
        queueMicrotask(() => this.exchange.receive({ type: "saved", key: event.key }));
        break;
      case "inbox":
        this.#deliver();
        break;
      case "call":
        this.#call(event);
        break;
      case "confirm":
        this.status = "waiting";
        this.question = event;
        break;
      case "done":
        this.status = "success";
        break;
      case "error":
        this.status = event.retryable ? "queued" : "error";
        this.error = { code: "worker_error", message: event.message, retryable: event.retryable };
    }
    if (this.events.length === this.#input.cancelAfter) queueMicrotask(() => this.cancel());
  }

  #openMessage(ref) {
    if (!this.#open.has(ref)) this.#begin(ref, {});
    return this.#open.get(ref);
  }

  #begin(ref, { role = "assistant", message_type = "text", channel = "answer", author = null, content = "", data }) {
    const id = `message-${this.#input.earlier.length + this.messages.length + 1}`;
    const message = new Message({ id, role, type: message_type, channel, author, content, data: { ...data } });
    this.messages.push(message);
    if (ref !== null) this.#open.set(ref, message);
  }

  /** What all attempts have used; of this one, what it has said last, and its steps. */
  get usage() {
    const { type: _, ...reported } = this.#reported;
    return added(this.#before, reported);
  }

  #deliver() {
    const said = this.inbox.shift() ?? null;
    const message = said === null ? null : { id: `sent-${this.events.length}`, ...conversation(said)[0] };
    if (message) this.#open.delete("");
    queueMicrotask(() => this.exchange.receive({ type: "message", id: message?.id ?? null, message }));
  }

  async #call({ id, worker_id: name, messages, config, args }) {
    const { calls, passages } = this.#input;
    const worker = calls[name];
    const failed = { code: "call_refused", message: `The test has no worker ${name} among its calls.`, retryable: false };
    const result = worker && (await execute(worker, messages, { config: config ?? {}, args, calls, passages }));
    this.exchange.receive({ type: "called", id, run_id: worker ? `run-1/${id}` : null });
    if (result?.text) this.exchange.receive({ type: "delta", id, text: result.text });
    this.exchange.receive({
      type: "result",
      id,
      run_id: worker ? `run-1/${id}` : null,
      status: result?.status ?? "error",
      messages: result?.messages ?? [],
      usage: result?.usage ?? {},
      error: result ? result.error : failed,
    });
  }
}

/** What has become of a run. */
class Result {
  #worker;
  #input;
  #pool;

  constructor(worker, input, pool) {
    this.#worker = worker;
    this.#input = input;
    this.#pool = pool;
    this.status = pool.status ?? "cancelled";
    this.messages = [...input.earlier.map((fields) => new Message(fields)), ...pool.messages];
    this.events = pool.events;
    this.state = pool.state;
    this.saved = pool.saved;
    this.usage = pool.usage;
    this.question = pool.question;
    this.error = pool.error;
    this.unread = pool.inbox;
  }

  /** The answer: the messages that are text, a blank line between them. */
  get text() {
    return textOf(this.messages);
  }

  /** The result after an answer to the question. */
  answer(answer) {
    if (this.status !== "waiting") throw new Error(`the run does not wait for an answer: it is ${this.status}`);
    const { id, digest } = this.question;
    const answers = [...this.#input.answers, { confirmation_id: id, answer, digest }];
    return attempt(this.#worker, this.#next({ answers, earlier: this.messages.map((message) => ({ ...message })) }));
  }

  /** The result of the next attempt, after one that has failed for the moment. */
  resume() {
    if (this.status !== "queued") throw new Error(`the run needs no further attempt: it is ${this.status}`);
    return attempt(this.#worker, this.#next({}));
  }

  #next(changes) {
    const { saved, digests, usage, inbox } = this.#pool;
    const number = this.#input.attempt + 1;
    return { ...this.#input, saved, digests, usage, inbox, attempt: number, cancelAfter: undefined, ...changes };
  }
}

/** Numbers are added up; of anything else the last one counts. */
function added(before, amounts) {
  const sum = { ...before };
  for (const [name, amount] of Object.entries(amounts)) {
    sum[name] = typeof amount === "number" ? (before[name] ?? 0) + amount : amount;
  }
  return sum;
}

function conversation(messages) {
  const said = Array.isArray(messages) ? messages : [messages];
  return said.map((one) => (typeof one === "string" ? { role: "user", content: one } : { ...one }));
}
