// How a run is executed: the worker's function is called, and what it yields is sent.
import { Cancelled, Failure } from "./errors.js";
import { Run } from "./run.js";
import { writeAll } from "./output.js";

export const PROTOCOL = 1;
/** Milliseconds after which what has come from the pool is looked at, however fast the worker yields. */
export const LOOK_MS = 10;

/** Exit codes. */
export const DONE = 0;
export const FAILED = 1;
export const STOPPED = 128 + 15;

/** The run of a first line. */
export function runOf(line, exchange) {
  return new Run(line, exchange);
}

/** Execute a run with the worker's function. Gives an exit code, and throws nothing. */
export async function execute(worker, line, run) {
  if ((line.protocol ?? PROTOCOL) !== PROTOCOL) return fail(run, otherProtocol(line.protocol));
  try {
    await drive(await worker(run), run);
    run.done();
    return DONE;
  } catch (error) {
    return fail(run, error);
  } finally {
    await run.close();
  }
}

/** End a run for an error of its worker. Gives an exit code. */
export function fail(run, error) {
  if (run.hasEnded) return DONE; // it waits for its user
  if (run.cancelled) {
    run.leave(error);
    return STOPPED;
  }
  writeAll(2, error instanceof Failure ? `failed: ${error.message}\n` : `${error?.stack ?? error}\n`);
  run.fail(error);
  return FAILED;
}

async function drive(result, run) {
  const iterator = iteratorOf(result);
  if (!iterator) return run.output(result);
  let looked = Date.now();
  let step = await iterator.next();
  for (; !step.done; step = await iterator.next()) {
    try {
      run.output(step.value);
    } catch (error) {
      await end(iterator, error);
      throw error;
    }
    if (Date.now() - looked >= LOOK_MS) {
      await new Promise(setImmediate);
      looked = Date.now();
    }
  }
  run.output(step.value);
}

function iteratorOf(result) {
  if (!result || typeof result !== "object") return null;
  return result[Symbol.asyncIterator]?.() ?? result[Symbol.iterator]?.() ?? null;
}

/** Have the worker clean up: it is cancelled, or what it has yielded cannot be sent. */
async function end(iterator, error) {
  try {
    const isOver = error instanceof Cancelled && iterator.throw && (await iterator.throw(error)).done;
    if (!isOver) await iterator.return?.();
  } catch (thrown) {
    if (thrown !== error) writeAll(2, `${thrown?.stack ?? thrown}\n`);
  }
}

function otherProtocol(version) {
  return new Failure(
    `This worker's package "branchline" has version ${PROTOCOL} of the protocol, and the pool that started it ` +
      `version ${version}. Install the package of the version of Branchline that the pool has.`,
  );
}
