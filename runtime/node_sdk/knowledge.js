// The knowledge base: what a run finds in the documents of its user, and what it adds to them.
import { createHash } from "node:crypto";

import { fetched, hasServer } from "./requests.js";

/** The knowledge base as one run sees it. */
export class Knowledge {
  /** What is found where there is no server, with the `digest` and `validator` of its document. */
  #local;

  /** `passages`: those of a test. */
  constructor(passages) {
    this.#local = passages;
  }

  /** The `k` passages that fit best, the best first, of the source of that name or of all. Rejects with Failure. */
  async search(query, k, source) {
    if (!hasServer()) return this.#found(query, k, source);
    return (await fetched(`search?${parameters({ q: query, k, source })}`)).items.map(passage);
  }

  /** Add a document; whether it was not there as it is already. Rejects with Failure. */
  async add(source, name, content, { kind, digest, validator } = {}) {
    if (!hasServer()) return this.#add(source, name, content, digest, validator);
    const query = parameters({ source, name, kind, digest, validator });
    const headers = { "Content-Type": "application/octet-stream" };
    return Boolean((await fetched(`documents?${query}`, { method: "POST", body: content, headers })).changed);
  }

  /** The document of that name, null where there is none. Rejects with Failure. */
  async find(source, name) {
    const found = hasServer()
      ? (await fetched(`documents?${parameters({ source, name })}`)).document
      : this.#local.find(isOf(source, name));
    return found ? { name, digest: found.digest ?? "", validator: found.validator ?? null } : null;
  }

  /** Those that have most words of the query; for tests. */
  #found(query, k, source) {
    const wanted = words(query);
    const counted = this.#local
      .map(passage)
      .filter((one) => (source ?? one.source) === one.source)
      .map((one) => [words([...one.titles, one.text].join(" ")).filter((word) => wanted.includes(word)).length, one])
      .filter(([count]) => count);
    return counted.sort(([a], [b]) => b - a).slice(0, k).map(([, one]) => one);
  }

  /** For tests. */
  #add(source, name, content, digest, validator) {
    const body = Buffer.from(content);
    const known = { digest: digest ?? createHash("sha256").update(body).digest("hex"), validator };
    const same = this.#local.filter(isOf(source, name));
    if (same.length === 1 && same[0].digest === known.digest) {
      same[0].validator = validator ?? same[0].validator;
      return false;
    }
    const others = this.#local.filter((one) => !same.includes(one));
    this.#local = [...others, { source, document: name, text: body.toString(), ...known }];
    return true;
  }
}

function isOf(source, name) {
  return (one) => one.source === source && one.document === name;
}

/** A piece of a document, as a worker sees it. */
function passage(fields) {
  return {
    text: String(fields.text ?? ""),
    titles: (fields.titles ?? []).map(String),
    source: String(fields.source ?? ""),
    document: String(fields.document ?? ""),
    position: Number(fields.position ?? 0),
    sourceId: fields.source_id ?? null,
    documentId: fields.document_id ?? null,
    score: Number(fields.score ?? 0),
  };
}

function parameters(fields) {
  return new URLSearchParams(Object.entries(fields).filter(([, value]) => value !== undefined && value !== null));
}

/** The words of a text, each once. */
function words(text) {
  return [...new Set(text.toLowerCase().match(/[\p{L}\p{N}_]+/gu) ?? [])];
}
