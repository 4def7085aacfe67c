// Files: those that messages name, and those that a run makes. Both are on the other side of the API.
import { Failure } from "./errors.js";

const BUSY = [429, 502, 503, 504];
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
  const answer = await answered(fetch(`${api}/worker/runs/${run}/${path}`, { ...options, headers: given, signal }));
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  const reason = problem.detail ?? `The API answered ${answer.status}.`;
  throw new Failure(String(reason), { retryable: BUSY.includes(answer.status) });
}

async function answered(promise) {
  try {
    return await promise;
  } catch (error) {
    const reason = error.cause?.message ?? error.message;
    throw new Failure(`The API could not be reached: ${reason}`, { retryable: true, cause: error });
  }
}
