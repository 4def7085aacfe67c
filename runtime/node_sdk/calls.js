// Calls: other workers that a run has run for it, each as a run of its own.
import { Failure } from "./errors.js";
import { Message } from "./messages.js";
import { digestOf } from "./steps.js";

const LONGEST_ID = 200;
/** Between two messages of an answer. */
const GAP = "\n\n";

/** The calls of one run. */
export class Calls {
  #exchange;
  #ask;
  #counts = new Map();

  /** `ask` asks the user a question of a sub-run, by its id for this run. */
  constructor(exchange, ask) {
    this.#exchange = exchange;
    this.#ask = ask;
  }

  /** See `Run.call`. */
  call(worker, messages, { config, args, files = [], id = this.#nextId(worker) }) {
    if (!id || id.length > LONGEST_ID) throw new RangeError(`the id of a call is a text of 1 to ${LONGEST_ID} characters`);
    const line = { type: "call", id, worker_id: worker, messages: naming(conversation(messages), files) };
    return new Call(this.#exchange, this.#ask, id, { ...line, config: config ?? null, args: args ?? null });
  }

  #nextId(worker) {
    const count = (this.#counts.get(worker) ?? 0) + 1;
    this.#counts.set(worker, count);
    return `${worker}#${count}`;
  }
}

/** A sub-run, under way already. `await` it for its result, or iterate over it for its text as it comes. */
class Call {
  #exchange;
  #ask;
  /** What has come from the pool and was not looked at. */
  #lines = [];
  #waiting = [];
  #stopped = null;
  #runId = null;
  #result = null;
  #refused = null;
  #streamed = "";
  /** How much of its text was given out. */
  #given = 0;
  #questions = [];
  #isFollowed = false;
  #isAfterQuestion = false;

  constructor(exchange, ask, id, line) {
    this.id = id;
    this.#exchange = exchange;
    this.#ask = ask;
    exchange.listen("call", id, (fields) => this.#receive(fields), (error) => this.#stop(error));
    exchange.write(line);
  }

  /** The end of the sub-run: `status`, `text`, `messages`, `usage`, `error`. That it fails throws nothing. */
  then(resolve, reject) {
    return this.#ended().then(resolve, reject);
  }

  async *[Symbol.asyncIterator]() {
    if (!this.#isFollowed) {
      this.#isFollowed = true;
      this.#exchange.write({ type: "follow", id: this.id });
    }
    while (!this.#isExhausted()) {
      const piece = this.#nextPiece();
      if (piece) yield piece;
      else if (!this.#isExhausted()) await this.#wait();
    }
  }

  async #ended() {
    this.#look();
    while (!this.#result) {
      this.#putQuestions();
      await this.#wait();
      this.#look();
    }
    this.#putQuestions();
    return resultOf(this.#result, this.#runId);
  }

  // ── what comes from the pool ──────────────────────────────────────────────

  #receive(fields) {
    this.#lines.push(fields);
    for (const { resolve } of this.#waiting.splice(0)) resolve();
  }

  #stop(error) {
    this.#stopped = error;
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }

  #wait() {
    if (this.#lines.length) return Promise.resolve();
    if (this.#stopped) return Promise.reject(this.#stopped);
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  #look() {
    for (const fields of this.#lines.splice(0)) {
      switch (fields.type) {
        case "called":
          this.#runId = fields.run_id;
          break;
        case "delta":
          this.#streamed += fields.text;
          break;
        case "question":
          this.#questions.push(fields);
          break;
        case "result":
          this.#result = fields;
          this.#exchange.forget("call", this.id);
          break;
        case "refused":
          this.#refused = new Failure(`The call ${JSON.stringify(this.id)} is refused: ${fields.message}`);
          this.#exchange.forget("call", this.id);
      }
    }
    if (this.#refused) throw this.#refused;
  }

  /** Ask the user what it has asked: the run ends here, or has the answer. */
  #putQuestions() {
    while (this.#questions.length) this.#putQuestion(this.#questions.shift());
  }

  #putQuestion({ question }) {
    const name = `${this.id}/${question.id}`;
    this.#ask(name.length <= LONGEST_ID ? name : digestOf(name), { ...question, call: this.#runId });
  }

  // ── its text ──────────────────────────────────────────────────────────────

  #isExhausted() {
    this.#look();
    return this.#result && !this.#questions.length && this.#known().length <= this.#given;
  }

  /** Its text, as far as it has come; what a lost attempt had said may be in it until it has ended. */
  #known() {
    return this.#result ? textOf(this.#result.messages) : this.#streamed;
  }

  /** Text that was not given out. A question comes where it was asked. */
  #nextPiece() {
    while (this.#questions.length) {
      const before = String(this.#questions[0].text ?? "");
      if (before.length > this.#given) return this.#give(before);
      this.#putQuestion(this.#questions.shift());
      this.#isAfterQuestion = true;
    }
    return this.#give(this.#known());
  }

  #give(text) {
    if (this.#isAfterQuestion && text.length > this.#given) {
      // The question stands between the two messages, and no blank line has to.
      if (text.startsWith(GAP, this.#given)) this.#given += GAP.length;
      this.#isAfterQuestion = false;
    }
    const piece = text.slice(this.#given);
    this.#given = Math.max(this.#given, text.length);
    return piece;
  }
}

function resultOf(line, runId) {
  return {
    runId,
    status: line.status,
    text: textOf(line.messages),
    messages: line.messages.map((fields) => new Message(fields)),
    usage: line.usage ?? {},
    error: line.error ?? null,
  };
}

/** The answer in messages of a run: those that are text, a blank line between them. */
export function textOf(messages) {
  return messages
    .filter((m) => m.role === "assistant" && m.type === "text" && m.channel === "answer" && m.content)
    .map((m) => m.content)
    .join(GAP);
}

function conversation(messages) {
  const said = Array.isArray(messages) ? messages : [messages];
  return said.map((one) => {
    if (typeof one === "string") return { role: "user", content: one };
    if (!(one instanceof Message)) return one;
    const { id: _, files, ...fields } = one;
    return files.length ? { ...fields, files: files.map((file) => file.id) } : fields;
  });
}

/** The messages, of which the last one names these files. */
function naming(messages, files) {
  if (!files.length) return messages;
  const last = messages.at(-1) ?? { role: "user", content: "" };
  return [...messages.slice(0, -1), { ...last, files: [...(last.files ?? []), ...files.map((file) => file.id)] }];
}
