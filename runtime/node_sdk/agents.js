// `serve`: a worker of a function that streams text, or the chunks of a library.
import { Failure, Suspended } from "./errors.js";
import { LOOK_MS } from "./driver.js";
import { failureOf } from "./model_errors.js";
import { answersOf, check, meaningsOf } from "./rules.js";
import { ANTHROPIC, OPENAI_CHAT, OPENAI_RESPONSES } from "./shapes.js";

/** The types that a picture may have. */
const PICTURES = ["png", "jpeg", "gif", "webp", "avif"];
/** Characters that the name of an author may have. */
const LONGEST_NAME = 200;

/**
 * The worker's function for `agent`: a function that is given the run and yields or returns text, chunks or
 * a library's stream of them; or such a stream.
 *
 * `rules` say what chunks mean that are not known, and come before the known ones. `input` makes of the run
 * what the agent is given in its place.
 */
export function serve(agent, { rules = [], input } = {}) {
  check(rules);
  if (typeof agent !== "function" && !iterates(agent)) {
    throw new TypeError("serve() takes a function that is given the run and streams, or a stream");
  }
  return async (run) => {
    const output = new Output(run, [rules, OPENAI_CHAT, OPENAI_RESPONSES, ANTHROPIC]);
    try {
      await output.all(typeof agent === "function" ? await agent(input ? await input(run) : run) : agent);
      output.checkEnd();
      output.end();
    } catch (error) {
      if (error instanceof Suspended) output.end();
      throw (!run.cancelled && failureOf(error)) || error;
    }
  };
}

/** Says what chunks mean. */
class Output {
  #run;
  #tables;
  /** What is being written, by what it belongs to. */
  #texts = new Map();
  /** Calls whose arguments are being written, by what they belong to and their key. */
  #calls = new Map();
  /** Calls without a result, by their id. */
  #waiting = new Map();
  /** What each answer has used. */
  #used = new Map();
  /** Whose usage was reported last. */
  #answer = null;
  /** Answers that a model is writing, and those whose API has said that nothing is missing. */
  #begun = new Set();
  #complete = new Set();
  /** How many questions chunks have asked. */
  #questions = 0;
  /** Whether the user does not want what comes next, so that the agent is not asked to go on. */
  #declined = false;

  constructor(run, tables) {
    this.#run = run;
    this.#tables = tables;
  }

  /** Say all of a text, a chunk, or a stream of them. */
  async all(result) {
    if (!iterates(result)) return this.#one(result);
    let looked = Date.now();
    for await (const one of result) {
      await this.#one(one);
      if (this.#declined) break;
      if (Date.now() - looked < LOOK_MS) continue;
      await new Promise(setImmediate);
      looked = Date.now();
    }
    // What the helpers `stream()` of OpenAI's and Anthropic's libraries give ends without its error
    // where that comes while nobody waits for the next chunk.
    if (!this.#declined && result.errored === true) await result.done();
  }

  /** Throw where a model's answer is not complete, unless the user does not want the rest. */
  checkEnd() {
    if (this.#begun.size && !this.#declined) this.#lacksEnd();
  }

  /** End what is open: a text is whole then; a call without a result has none that we know of. */
  end() {
    for (const of of [...this.#texts.keys()]) this.#endText(of);
    for (const call of this.#waiting.values()) call.called();
  }

  async #one(one) {
    if (one === null || one === undefined || one === "") return;
    if (typeof one === "string") return this.#text({ text: one });
    const meanings = typeof one === "object" ? meaningsOf(one, this.#tables) : null;
    if (meanings === null) throw unknown(one);
    for (const { kind, ...meaning } of meanings) await this.#say(kind, meaning);
    for (const answer of answersOf(one, this.#tables)) this.#lookForEnd(answer);
  }

  #say(kind, meaning) {
    switch (kind) {
      case "text":
        return this.#text(meaning);
      case "call":
        return this.#call(meaning);
      case "result":
        return this.#result(meaning);
      case "confirm":
        return this.#confirm(meaning);
      case "image":
        return this.#image(meaning);
      case "step":
        return this.#run.step(meaning.description);
      case "usage":
        return this.#usage(meaning);
      case "end":
        return this.#end(meaning);
      case "error":
        throw new Failure(meaning.message, { retryable: meaning.retryable });
    }
  }

  /** Append to the message that belongs to `of`; a text of another kind begins another. */
  #text({ text, of = null, role = "assistant", type = "text", channel = "answer", data, author }) {
    const name = author && [...author].slice(0, LONGEST_NAME).join("");
    const kind = JSON.stringify([role, type, channel, name]);
    if (this.#texts.has(of) && this.#texts.get(of).kind !== kind) this.#endText(of);
    if (!this.#texts.has(of)) {
      this.#texts.set(of, { kind, message: this.#run.start({ role, type, channel, author: name, data }) });
    }
    this.#texts.get(of).message.delta(text);
  }

  /** Begin a call, or go on with its arguments. */
  #call({ of, key = null, id, name, arguments: args }) {
    const place = JSON.stringify([of, key]);
    let call = this.#calls.get(place)?.call;
    if (!call || (id && id !== call.id)) {
      if (!name || this.#waiting.has(id)) return; // what was called is not known, or was said before
      this.#endText(of);
      const whole = args !== null && args !== undefined && typeof args !== "string" ? args : undefined;
      call = this.#run.tool(name, whole, undefined, id ? { id } : {});
      this.#calls.set(place, { of, call });
      this.#waiting.set(call.id, call);
    }
    if (typeof args === "string" && args) call.arguments(args);
  }

  #result({ id, value = null, error = null }) {
    const call = this.#waiting.get(id);
    if (!call) return;
    this.#waiting.delete(id);
    for (const [place, one] of this.#calls) if (one.call === call) this.#calls.delete(place);
    call.result(error ?? value, { isError: error !== null });
  }

  /** End the text and the calls that belong to `of`; results may follow. */
  #end({ of }) {
    this.#endText(of);
    for (const [place, one] of this.#calls) {
      if (one.of !== of) continue;
      one.call.called();
      this.#calls.delete(place);
    }
  }

  /** Note how far an answer is. Throw where it is over without being complete. */
  #lookForEnd({ of, state }) {
    if (state === "begun" && !this.#complete.has(of)) this.#begun.add(of); // a chunk may follow its end
    if (state === "over" && this.#begun.has(of)) this.#lacksEnd();
    if (state !== "complete") return;
    this.#complete.add(of);
    this.#begun.clear(); // not of this one only: servers may give each chunk an id of its own
  }

  #lacksEnd() {
    const message = "The model's server broke off, or its last chunk was not given on: the answer has no end.";
    throw new Failure(message, { retryable: true });
  }

  /** Ask the user whether to go on, or whether a `code` is to be executed. */
  async #confirm({ prompt, code = null, language }) {
    this.#end({ of: null });
    const what = language ? `${language} code` : "code";
    const asked = code === null ? String(prompt || "Go on?") : `Execute this ${what}?\n\n${code}`;
    const id = `chunk ${++this.#questions}`;
    this.#declined = (await this.#run.confirm(asked, { options: ["yes", "no"], id })) !== "yes";
  }

  /** Show a picture; the end of `format` says of which type: `base64.jpeg`. Else it is a PNG. */
  #image({ base64, alt, format }) {
    const named = String(format).toLowerCase().split(".").at(-1).replace("jpg", "jpeg");
    const type = PICTURES.includes(named) ? named : "png";
    this.#run.image(Buffer.from(base64, "base64"), alt || "A picture.", `image/${type}`);
  }

  /** Report what an answer has used; that of all answers adds up. */
  #usage({ of, amounts, adds }) {
    if (of !== null) this.#answer = of;
    const used = { ...this.#used.get(this.#answer) };
    for (const [name, amount] of Object.entries(amounts)) used[name] = adds ? (used[name] ?? 0) + amount : amount;
    this.#used.set(this.#answer, used);
    const sums = {};
    for (const one of this.#used.values()) {
      for (const [name, amount] of Object.entries(one)) sums[name] = (sums[name] ?? 0) + amount;
    }
    this.#run.usage(sums);
  }

  #endText(of) {
    this.#texts.get(of)?.message.end();
    this.#texts.delete(of);
  }
}

function iterates(value) {
  return value !== null && typeof value === "object" && Boolean(value[Symbol.asyncIterator] ?? value[Symbol.iterator]);
}

function unknown(chunk) {
  const what = typeof chunk === "object" ? `with ${Object.keys(chunk).join(", ")}` : `of type ${typeof chunk}`;
  return new TypeError(
    `serve() does not know what a chunk ${what} means; ` +
      "say so with a rule: serve(agent, { rules: [{ when: { … }, text: … }] })",
  );
}
