// Durable steps: what was done once is not done again in a later attempt.
import { AsyncLocalStorage } from "node:async_hooks";
import { createHash } from "node:crypto";

import { Failure } from "./errors.js";

/** Bytes that one result may have, as JSON. */
export const MAX_VALUE = 1 << 20;
const LONGEST_KEY = 200;

const current = new AsyncLocalStorage();

/** The step in whose function we are. */
export function currentStep() {
  return current.getStore();
}

/** Throw where we are in the function of a step. */
export function refuseWithin(what) {
  const step = currentStep();
  if (step) {
    throw new Error(
      `${what} within the step ${JSON.stringify(step.key)} would be missing in a later attempt, ` +
        "which does not call its function again; return it, and do it after the step",
    );
  }
}

/** The durable steps of one run. */
export class Steps {
  #saved;
  #digests;
  #exchange;
  #counts = new Map();

  constructor(saved, digests, exchange) {
    this.#saved = new Map(Object.entries(saved));
    this.#digests = new Map(Object.entries(digests));
    this.#exchange = exchange;
  }

  /** See `Run.once`. */
  once(key, fn, args) {
    if (typeof key === "function") return (...given) => this.#execute(this.#nextKey(key), key, given);
    if (key !== null && !(typeof key === "string" && key && key.length <= LONGEST_KEY)) {
      throw new TypeError(`the key of a step is a text of 1 to ${LONGEST_KEY} characters`);
    }
    if (typeof fn !== "function") throw new TypeError('a step is run.once("key", function, …arguments)');
    return this.#execute(key ?? this.#nextKey(fn), fn, args);
  }

  #nextKey(fn) {
    const name = fn.name || "step";
    const count = (this.#counts.get(name) ?? 0) + 1;
    this.#counts.set(name, count);
    return `${name}#${count}`;
  }

  async #execute(key, fn, args) {
    if (currentStep()) throw new Error(`the step ${JSON.stringify(key)} is within another one; take one after the other`);
    const digest = args.length ? digestOf(args) : "-";
    if (this.#saved.has(key)) {
      if ((this.#digests.get(key) ?? "") !== digest) {
        throw new Failure(`The step ${JSON.stringify(key)} was taken before with other arguments.`);
      }
      return copy(this.#saved.get(key));
    }
    const step = { key, usage: {} };
    const result = await current.run(step, () => fn(...args));
    const value = asJSON(key, result);
    const usage = Object.keys(step.usage).length ? step.usage : null;
    const answer = await this.#exchange.ask({ type: "save", key, value, digest, usage }, "save", key);
    if (answer.type === "refused") {
      throw new Failure(`The step ${JSON.stringify(key)} is not saved: ${answer.message}.`);
    }
    const kept = "value" in answer ? answer.value : value;
    this.#saved.set(key, kept);
    this.#digests.set(key, digest);
    return copy(kept);
  }
}

/** The result of a step, as JSON reads it. */
function asJSON(key, result) {
  if (typeof result?.next === "function") {
    throw new TypeError(`the step ${JSON.stringify(key)} must return its result, not yield it`);
  }
  let text;
  try {
    text = JSON.stringify(result ?? null);
  } catch (error) {
    throw new TypeError(`the result of the step ${JSON.stringify(key)} is no JSON: ${error.message}`);
  }
  if (text === undefined) throw new TypeError(`the result of the step ${JSON.stringify(key)} is no JSON`);
  if (text.length > MAX_VALUE) {
    throw new RangeError(`the result of the step ${JSON.stringify(key)} is larger than ${MAX_VALUE} bytes of JSON`);
  }
  return JSON.parse(text);
}

/** What a worker changes in it is not changed in what is kept. */
function copy(value) {
  return JSON.parse(JSON.stringify(value));
}

/** What stands for a value of JSON, whatever the order of its keys. */
export function digestOf(value) {
  const sorted = (_, part) =>
    part && typeof part === "object" && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part;
  return createHash("sha256").update(JSON.stringify(value, sorted) ?? "null").digest("hex");
}
