// Requests to the Worker API, which a run makes with its token.
import { Failure } from "./errors.js";

/** In place of a run's token, where a worker is executed without a server. */
const NO_SERVER = "no-server";
const BUSY = [408, 425, 429, 502, 503, 504];
/** How the `type` of the server's problem documents begins. */
const OURS = "urn:branchline:problem:";
const MILLISECONDS = 60_000;
/** For how long a server that is away is asked again; it is started anew in less. In milliseconds, as what follows. */
const AWAY = 30_000;
/** Before it is asked again: the first pause, doubled each time, and the longest. */
const PAUSE = 250;
const LONGEST_PAUSE = 4_000;

/** Whether the worker is executed for a server, and not by a test or in a terminal. */
export function hasServer() {
  return (process.env.BRANCHLINE_RUN_TOKEN || NO_SERVER) !== NO_SERVER;
}

/** The answer to a request below the run's own path. Rejects with Failure. */
export async function request(path, { headers, ...options } = {}) {
  if (!hasServer()) throw new Failure("There is no server to ask.");
  const { BRANCHLINE_API_URL: api, BRANCHLINE_RUN_TOKEN: token, BRANCHLINE_RUN_ID: run } = process.env;
  const given = { Authorization: `Bearer ${token}`, ...headers };
  const signal = AbortSignal.timeout(MILLISECONDS);
  const asked = { ...options, headers: given, signal, redirect: "manual" };
  const answer = await answered(fetch(`${api}/worker/runs/${run}/${path}`, asked));
  if (answer.ok) return answer;
  throw failureOf(answer, await answer.json().catch(() => null));
}

/**
 * The JSON that answers a request which does no harm if it is made twice. It is made again while the server is
 * away, for half a minute. Rejects with Failure.
 */
export async function fetched(path, options) {
  const until = Date.now() + AWAY;
  for (let pause = PAUSE; ; pause = Math.min(2 * pause, LONGEST_PAUSE)) {
    try {
      return await answered((await request(path, options)).json());
    } catch (error) {
      if (!error.retryable || Date.now() + pause > until) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

/** What is awaited of a request or its answer. Rejects with Failure where that breaks off. */
export async function answered(promise) {
  try {
    return await promise;
  } catch (error) {
    const reason = error.cause?.message ?? error.message;
    throw new Failure(`The API could not be reached: ${reason}`, { retryable: true, cause: error });
  }
}

/** What an answer without success means. A proxy's, which may be anything, is not about the request. */
function failureOf({ status, headers }, problem) {
  if (String(problem?.type).startsWith(OURS)) {
    return new Failure(String(problem.detail), { retryable: BUSY.includes(status) });
  }
  if (status === 413) return new Failure("The request is too large for a proxy on the way.");
  const location = headers.get("Location");
  const answered = `something in between answered ${status}${location ? `, which leads to ${location}` : ""}`;
  return new Failure(`The API could not be reached: not the server but ${answered}.`, { retryable: true });
}
