// Files: those that messages name, and those that a run makes. Both are on the other side of the API.
import { Failure } from "./errors.js";
import { answered, request } from "./requests.js";

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
