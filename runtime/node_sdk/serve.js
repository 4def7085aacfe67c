// A process that executes one run of a worker of this package.
import { DONE, FAILED, STOPPED, execute, fail, runOf } from "./driver.js";
import { Failure } from "./errors.js";
import { Exchange } from "./exchange.js";
import { writeAll } from "./output.js";
import { describe } from "./run.js";

/** Milliseconds that a worker which cannot know that it is to stop is given to say something, and learn it. */
const UNTOLD_MS = 500;
/** Milliseconds in which a worker that cannot be loaded may print why. */
const LAST_WORDS_MS = 500;

/** Load the worker, wait for its run and execute it. Ends the process. `isAhead`: the environment comes first. */
export async function serve(url, isAhead) {
  printToLog();
  const worker = await load(url);
  const input = new Input();
  if (isAhead) {
    const first = await input.line();
    if (first === null) process.exit(DONE); // the pool needs it no more
    Object.assign(process.env, first.environ);
  }
  const line = await input.line();
  if (line === null) {
    writeAll(2, "stdin ended before a run arrived\n");
    process.exit(FAILED);
  }
  const exchange = new Exchange((text) => writeAll(1, text));
  const run = runOf(line, exchange);
  watch(run, exchange, input);
  process.exit(await execute(worker, line, run));
}

/** Load the worker, and say on stdout whether that could be done, and why not. Ends the process. */
export async function check(url) {
  printToLog();
  try {
    await functionOf(url);
  } catch (error) {
    const message = error instanceof Failure ? error.message : describe(error);
    writeAll(1, `${JSON.stringify({ type: "broken", message })}\n`);
    setTimeout(() => process.exit(FAILED), LAST_WORDS_MS).unref(); // the worker may handle what is not caught
    throw error; // only what nobody catches does Node.js print with its place in the file
  }
  writeAll(1, `${JSON.stringify({ type: "loaded" })}\n`);
  process.exit(DONE);
}

/** What the worker prints goes to the log; the lines of the protocol are written to the descriptor. */
function printToLog() {
  Object.defineProperty(process, "stdout", { configurable: true, get: () => process.stderr });
}

/** The worker's function; where it cannot be loaded, one that says so to the run's user. */
async function load(url) {
  try {
    return await functionOf(url);
  } catch (error) {
    return () => {
      throw error;
    };
  }
}

async function functionOf(url) {
  const module = await import(url);
  const worker = typeof module.default === "function" ? module.default : module.run;
  if (typeof worker === "function") return worker;
  throw new Failure("The worker's file exports no function: it needs `export default function (run) { … }`.");
}

/** Stop the worker when the pool says so, closes the pipe, or sends SIGTERM; hand on what it answers. */
function watch(run, exchange, input) {
  let isTimeOver = false;
  const stop = (reason) => {
    run.cancel(reason);
    setTimeout(() => run.isTold || process.exit(STOPPED), UNTOLD_MS);
  };
  input.listen(
    (fields) => {
      if (fields.type === "cancel") stop({ handedBack: false });
      else if (fields.type === "timeout") isTimeOver = true;
      else exchange.receive(fields);
    },
    () => stop({ handedBack: !isTimeOver, isLast: true }),
  );
  // If the run ends, the pool has said so in a line before, which is read first.
  process.on("SIGTERM", () => setImmediate(() => stop({ handedBack: !isTimeOver })));
  process.on("uncaughtException", (error) => process.exit(fail(run, error)));
}

/** The lines of the pool. */
class Input {
  #lines = [];
  #rest = "";
  #hasEnded = false;
  #receive = null;
  #end = null;
  #wake = null;

  constructor() {
    process.stdin.setEncoding("utf8");
    process.stdin.on("data", (chunk) => this.#read(chunk));
    process.stdin.on("end", () => this.#finish());
    process.stdin.on("error", () => this.#finish());
  }

  /** The next line, as an object; null at the end. */
  async line() {
    while (!this.#lines.length && !this.#hasEnded) await new Promise((resolve) => (this.#wake = resolve));
    return this.#lines.shift() ?? null;
  }

  /** Have `receive` called with each further line, and `end` at the end. */
  listen(receive, end) {
    this.#receive = receive;
    this.#end = end;
    for (const fields of this.#lines.splice(0)) receive(fields);
    if (this.#hasEnded) end();
  }

  #read(chunk) {
    const lines = chunk.split("\n");
    lines[0] = this.#rest + lines[0];
    this.#rest = lines.pop();
    for (const line of lines) {
      const fields = objectOf(line);
      if (this.#receive) this.#receive(fields);
      else this.#lines.push(fields);
    }
    this.#wake?.();
  }

  #finish() {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#end?.();
    this.#wake?.();
  }
}

function objectOf(line) {
  try {
    return JSON.parse(line) ?? {};
  } catch {
    return {};
  }
}
