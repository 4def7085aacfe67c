import type { Json, Message, Worker } from "./index.js";

export interface Options {
  /** With its defaults: no schema is applied. */
  config?: Record<string, Json>;
  args?: Json;
  /** What the run before it on the branch has kept. */
  state?: Json;
  thread?: { id: string; title: string | null; metadata: Record<string, Json> };
  /** What each look into the inbox finds, null being nothing. */
  inbox?: (string | null | Record<string, Json>)[];
  /** The workers that it calls, by id: functions or files. */
  calls?: Record<string, Worker | string | URL>;
  /** Among which searches find: fields of a passage as the API has them, `source`, `document` and `text` above all. */
  passages?: Record<string, Json>[];
  /** The run is cancelled after so many events. */
  cancelAfter?: number;
}

export interface Result {
  /** `queued`: the attempt failed for the moment, and another one follows. */
  readonly status: "success" | "error" | "cancelled" | "waiting" | "queued";
  /** The answer: the messages that are text, a blank line between them. */
  readonly text: string;
  readonly messages: Message[];
  /** What the last attempt has said, line by line. */
  readonly events: Record<string, Json>[];
  readonly state: Json;
  /** The results of its durable steps, by key. */
  readonly saved: Record<string, Json>;
  readonly usage: Record<string, Json>;
  readonly question: Record<string, Json> | null;
  readonly error: { code: string; message: string; retryable: boolean } | null;
  /** Messages of the inbox that it has not read. */
  readonly unread: Json[];
  /** The result after an answer to the question. */
  answer(answer: Json): Promise<Result>;
  /** The result of the next attempt, after one that has failed for the moment. */
  resume(): Promise<Result>;
}

/** Execute a worker, its function or its file, in the test's own process. */
export function execute(
  worker: Worker | string | URL,
  messages?: string | (string | Record<string, Json>)[],
  options?: Options,
): Promise<Result>;
