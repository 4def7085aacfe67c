// Files: those that messages name, and those that a run makes. Both are on the other side of the API.
import { Failure } from "./errors.js";

const BUSY = [408, 425, 429, 502, 503, 504];
/** How the `type` of the server's problem documents begins. */
const OURS = "urn:branchline:problem:";
const MILLISECONDS = 60_000;

/** A file that a message names. Its content comes when it is asked for. */
export class File {
  #content = null;

  constructor(fields) {
    this.id = String(fields.id);
    this.name = String(fields.name || "file");
    this.type = String(fields.type || "application/octet-stream");
    this.size = Number(fields.size || 0);
  }

  /** Its content, if it was read. */
  get content() {
    return this.#content;
  }

  /** All of its content. Rejects with Failure. */
  async read() {
    if (this.#content) return this.#content;
    const answer = await request(`files/${encodeURIComponent(this.id)}`);
    const content = Buffer.from(await answered(answer.arrayBuffer()));
    if (content.length !== this.size) throw new Failure(`The file ${this.name} ended too early.`, { retryable: true });
    return (this.#content = content);
  }
}

/** Send what a run has made. Rejects with Failure. */
export async function make(name, content, type) {
  const query = new URLSearchParams({ name, ...(type && { type }) });
  const headers = { "Content-Type": "application/octet-stream" };
  const answer = await request(`files?${query}`, { method: "POST", body: content, headers });
  return new File((await answered(answer.json())).file);
}

async function request(path, { headers, ...options } = {}) {
  const { BRANCHLINE_API_URL: api, BRANCHLINE_RUN_TOKEN: token, BRANCHLINE_RUN_ID: run } = process.env;
  if (!api || !token) throw new Failure("There is no server to fetch files from, or to send them to.");
  const given = { Authorization: `Bearer ${token}`, ...headers };
  const signal = AbortSignal.timeout(MILLISECONDS);
  const asked = { ...options, headers: given, signal, redirect: "manual" };
  const answer = await answered(fetch(`${api}/worker/runs/${run}/${path}`, asked));
  if (answer.ok) return answer;
  throw failureOf(answer, await answer.json().catch(() => null));
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

async function answered(promise) {
  try {
    return await promise;
  } catch (error) {
    const reason = error.cause?.message ?? error.message;
    throw new Failure(`The API could not be reached: ${reason}`, { retryable: true, cause: error });
  }
}
