// A call of a function in the conversation: what it was called with, and what came of it.
import { Cancelled, Failure, Suspended } from "./errors.js";
import { MAX_VALUE } from "./steps.js";

/** Bytes of JSON that have a place in a message's data, with what else is in it. */
const MAX_RESULT = MAX_VALUE - (1 << 14);

/** A call that is being made. See `Run.tool`. */
export class ToolCall {
  #run;
  #message;
  #ended;
  #hasResult = false;

  /** `args`: undefined where they will be streamed. `ended` is told once there is a result. */
  constructor(run, name, args, id, ended) {
    this.#run = run;
    this.#ended = ended;
    this.name = name;
    this.id = id;
    const data = { name, call_id: id, ...(args !== undefined && { arguments: args }) };
    this.#message = run.start({ type: "function", data });
  }

  /** Append to the arguments: JSON, as a model writes it piece by piece. */
  arguments(text) {
    this.#message.delta(text);
  }

  /** Say that the arguments are complete; the result follows, or is nothing that this worker knows. */
  called() {
    this.#message.end();
  }

  /** Say what the function has returned: JSON, or text; `isError`: why it failed. */
  result(value, { isError = false } = {}) {
    if (this.#hasResult) throw new Error(`the call of ${JSON.stringify(this.name)} has its result already`);
    const text = JSON.stringify(value ?? null);
    const data = { call_id: this.id, name: this.name, ...(isError && { is_error: true }) };
    const fits = Buffer.byteLength(text) <= MAX_RESULT;
    if (fits) data.result = value ?? null;
    this.#message.end();
    this.#hasResult = true;
    this.#ended(this);
    const content = fits ? "" : typeof value === "string" ? value : text;
    this.#run.message(content, { role: "tool", type: "function", data });
  }

  /** Show what `fn` returns, or throws, as the result. A question leaves the call open: it goes on later. */
  async of(fn) {
    try {
      const value = await fn(this);
      if (!this.#hasResult) this.result(value);
      return value;
    } catch (error) {
      this.close(error);
      throw error;
    }
  }

  /** See that there is a result: `error` says why it has none. */
  close(error) {
    if (!this.#hasResult && !(error instanceof Suspended)) this.result(reasonOf(error), { isError: true });
  }

  [Symbol.dispose ?? Symbol.for("dispose")]() {
    if (!this.#hasResult) this.result(null);
  }
}

/** What the model and the user are told of an error. */
function reasonOf(error) {
  if (error instanceof Cancelled || error?.name === "AbortError") return "Cancelled.";
  if (error instanceof Failure && error.message) return error.message;
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}
