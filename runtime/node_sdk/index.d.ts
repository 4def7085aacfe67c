/** JSON. */
export type Json = any;

/** What a worker's file exports as its default, or as `run`. What it yields or returns is text or an event. */
export type Worker = (run: Run) => Output | Promise<Output> | Iterable<Said> | AsyncIterable<Said>;
type Said = string | Event | null | undefined;
type Output = Said | void | Iterable<Said> | AsyncIterable<Said>;

/** An event of the protocol. */
export interface Event {
  type:
    | "start" | "delta" | "end" | "message" | "step" | "usage" | "confirm" | "save" | "inbox" | "call" | "follow"
    | "discard" | "finish" | "send" | "state" | "done" | "error";
  [field: string]: Json;
}

/** The run is to stop. Thrown in the worker, which may clean up and must let it pass. */
export class Cancelled extends Error {}

/** Throw it to fail the run with a message for its user, without a stack. */
export class Failure extends Error {
  /** `retryable`: another attempt may succeed (a busy service, a lost connection). */
  constructor(message: string, options?: { retryable?: boolean; cause?: unknown });
  readonly retryable: boolean;
}

export type Role = "system" | "user" | "assistant" | "tool";
export type MessageType = "text" | "code" | "console" | "image" | "function" | "confirmation";

/** A file that a message names. */
export interface File {
  readonly id: string;
  /** What its owner calls it. */
  readonly name: string;
  /** What it is, as `image/png`; found by looking at its content. */
  readonly type: string;
  /** Bytes. */
  readonly size: number;
  /** All of its content. */
  read(): Promise<Uint8Array>;
}

/** A message of the thread. */
export class Message {
  constructor(fields: Partial<Omit<Message, "asText">>);
  readonly id: string | null;
  readonly role: Role;
  readonly type: MessageType;
  /** answer, or reasoning: what a model thought before it answered. */
  readonly channel: "answer" | "reasoning";
  readonly author: string | null;
  readonly content: string;
  readonly data: Record<string, Json>;
  readonly files: File[];
  /** The message for a model that reads text only. */
  asText(): string;
}

/** What a message is, but for its content. */
export interface Head {
  role?: Role;
  type?: MessageType;
  channel?: "answer" | "reasoning";
  author?: string;
  data?: Record<string, Json>;
}

/** A message that the worker streams. */
export interface OpenMessage {
  /** Append `text`. */
  delta(text: string): void;
  /** Complete the message; `data` is merged into its first. A second call does nothing. */
  end(data?: Record<string, Json>): void;
}

/** A call of a function that is being made. */
export interface ToolCall {
  readonly name: string;
  /** What belongs to the call in the model's words, its `call_id`. */
  readonly id: string;
  /** Append to the arguments: JSON, as a model writes it piece by piece. */
  arguments(text: string): void;
  /** Say that the arguments are complete. */
  called(): void;
  /** Say what the function has returned; `isError`: why it failed. */
  result(value: Json, options?: { isError?: boolean }): void;
}

/** How a sub-run has ended. */
export interface CallResult {
  /** null where there is none, because it was refused. */
  readonly runId: string | null;
  readonly status: "success" | "error" | "timeout" | "cancelled";
  /** Its answer: the messages that are text, a blank line between them. */
  readonly text: string;
  readonly messages: Message[];
  readonly usage: Record<string, Json>;
  readonly error: { code: string; message: string; retryable: boolean } | null;
}

/** A sub-run, under way already. `await` it for its result, or iterate over it for its text as it comes. */
export interface Call extends PromiseLike<CallResult>, AsyncIterable<string> {
  readonly id: string;
}

export interface CallOptions {
  config?: Record<string, Json>;
  args?: Json;
  /** Named by the last message. */
  files?: File[];
  /** By what a later attempt finds it; calls that are made at the same time need one. */
  id?: string;
}

export interface ConfirmOptions {
  options?: string[];
  /** JSON Schema of the answer, which the user gives in a form. */
  schema?: Record<string, Json>;
  /** Its number where there is none. */
  id?: string;
}

export interface FormatOptions {
  /** Others than all of the run. */
  messages?: Iterable<Message>;
  /** Instructions that go before those of the conversation. */
  system?: string;
  /** false: calls and results are text. */
  tools?: boolean;
  /** false: pictures are described. */
  pictures?: boolean;
}

/** A server of the Model Context Protocol: one that is started, or one that is connected to. */
export type McpServer =
  | { command: string; args?: string[]; env?: Record<string, string>; cwd?: string }
  | { url: string; headers?: Record<string, string> };

/** A tool of a server. To call it is to call this. Rejects where the tool fails. */
export interface McpTool {
  (args?: Record<string, Json>, options?: { id?: string }): Promise<Json>;
  readonly name: string;
  readonly description: string;
  /** Of the arguments, a JSON Schema. */
  readonly schema: Record<string, Json>;
}

/** The tools of all servers, by name. */
export interface McpTools extends ReadonlyMap<string, McpTool> {
  /** Call a tool as a model asks for it: the text that the model is given, also where the tool fails. */
  call(name: string, args?: Json, options?: { id?: string }): Promise<string>;
  /** The argument `tools` of OpenAI's library. */
  asOpenAI(api?: "chat" | "responses"): any[];
  /** The argument `tools` of Anthropic's library. */
  asAnthropic(): any[];
  /** End the servers; the end of the run does it as well. */
  close(): Promise<void>;
}

/** A piece of a document of the knowledge base that fits what was searched. */
export interface Passage {
  readonly text: string;
  /** The headings above it, the outermost first. */
  readonly titles: string[];
  /** The name of its source. */
  readonly source: string;
  /** The name of its document. */
  readonly document: string;
  /** Among the passages of its document, from 0. */
  readonly position: number;
  readonly sourceId: string | null;
  readonly documentId: string | null;
  /** The greater, the better it fits; to be compared in one answer only. */
  readonly score: number;
}

/** A document of the knowledge base. */
export interface KnowledgeDocument {
  readonly name: string;
  /** SHA-256 in hexadecimal digits: of the file that it was made of, or of its own content. */
  readonly digest: string;
  /** What it was added with. */
  readonly validator: string | null;
}

export interface NewDocumentOptions {
  /** What it is read as, where the name does not say it. */
  kind?: "markdown" | "html" | "text";
  /** SHA-256, in hexadecimal digits, of the file that the content is made of. It counts instead of the content. */
  digest?: string;
  /** What is to be found there again, such as the ETag of a page. */
  validator?: string;
}

/** The messages that are sent to the run while it is under way. */
export interface Inbox {
  /** What has arrived; ends where there is no more. */
  (): AsyncIterable<Message>;
  /** The next one, null where there is none. Does not wait for one. */
  poll(): Promise<Message | null>;
}

/** The run that a worker executes, and how it answers. */
export interface Run {
  readonly id: string;
  readonly threadId: string;
  /** The number of this attempt, from 1. */
  readonly attempt: number;
  /** The run as the API shows it. */
  readonly fields: Record<string, Json>;
  /** Checked against the worker's schema, defaults filled in. */
  readonly config: Record<string, Json>;
  /** What the client sent along, unchecked. */
  readonly args: Json;
  /** The conversation, oldest first. */
  readonly messages: Message[];
  /** What earlier attempts wrote that counts. */
  readonly earlier: Message[];
  /** What a lost attempt was writing, if worker.toml says `resume = "continue"`. */
  readonly open: Message[];
  /** The thread's id, title and metadata. */
  /** The message that an entity of a system handles; null outside of systems. */
  readonly incoming: Record<string, Json> | null;
  readonly thread: { id: string; title: string | null; metadata: Record<string, Json> };
  /** JSON that the next run on this branch is given. */
  state: Json;
  /** Whether it is to stop. */
  readonly cancelled: boolean;
  /** Whether that is because its pool shuts down or has died, and another attempt follows. */
  readonly handedBack: boolean;
  /** Aborted when the run is to stop, with Cancelled as the reason. */
  readonly signal: AbortSignal;
  readonly inbox: Inbox;

  conversation(): [Role, string][];
  window(size: number, options?: { roles?: Role[]; types?: MessageType[] }): Message[];
  asOpenAI(api?: "chat" | "responses", options?: FormatOptions): Record<string, Json>[];
  asAnthropic(options?: FormatOptions): { system?: string; messages: Record<string, Json>[] };

  delta(text: string): void;
  message(content: string, head?: Head & { files?: File[] }): void;
  /** Make a file of a text or bytes, and show it in a message unless `show` is false. */
  file(
    name: string,
    content: string | Uint8Array,
    options?: { type?: string; text?: string; show?: boolean },
  ): Promise<File>;
  /** Read the files of the user that models can be given, for asOpenAI and asAnthropic. */
  readFiles(): Promise<void>;
  /** The `k` passages (5; 1 to 50) of the user's knowledge base that fit best; of the `source` of that name only. */
  search(query: string, options?: { k?: number; source?: string }): Promise<Passage[]>;
  /** Add a document to a source, or replace the one of its name. False: it was there with the same content. */
  addDocument(
    source: string,
    name: string,
    content: string | Uint8Array,
    options?: NewDocumentOptions,
  ): Promise<boolean>;
  /** The document of that name in a source, null where there is none. */
  findDocument(source: string, name: string): Promise<KnowledgeDocument | null>;
  /** An image of at most 750 kB (PNG, JPEG, GIF, WebP or AVIF); `alt` describes it. */
  image(picture: Uint8Array, alt: string, mediaType?: string): void;
  start(head?: Head): OpenMessage;
  /** A call of a function: shown with what `fn` returns, or throws. */
  tool<T>(name: string, args: Json, fn: (call: ToolCall) => T | Promise<T>, options?: { id?: string }): Promise<T>;
  tool<T>(name: string, fn: (call: ToolCall) => T | Promise<T>): Promise<T>;
  tool(name: string, args?: Json, fn?: undefined, options?: { id?: string }): ToolCall;
  /** What it does next; with `fn` until that has ended. */
  step(description: string): void;
  step<T>(description: string, fn: () => T | Promise<T>): Promise<T>;
  log(message: string, fields?: Record<string, unknown>, level?: "debug" | "info" | "warning" | "error"): void;
  usage(amounts: Record<string, Json>): void;
  emit(event: Event): void;

  /** Take a step once: its result is committed, and given in every later attempt. */
  once<A extends unknown[], T>(key: string | null, fn: (...args: A) => T | Promise<T>, ...args: A): Promise<T>;
  once<A extends unknown[], T>(fn: (...args: A) => T | Promise<T>): (...args: A) => Promise<T>;
  /** An idempotency key for services: the same in every attempt of this run. */
  key(key: string): string;
  /** Ask the user. This process ends, and the worker is started again with the answer. */
  confirm(prompt: string, options?: ConfirmOptions): Promise<Json>;
  /** Have another worker run, as a run of its own below this one. */
  call(worker: string, messages?: string | Message | Json | (string | Message | Json)[], options?: CallOptions): Call;
  /** The tools of MCP servers. Needs the package @modelcontextprotocol/sdk in the worker's folder. */
  mcp(servers: Record<string, McpServer>): Promise<McpTools>;
  /** Begin anew, without what a lost attempt has left. */
  discard(): void;
  /** The goal is reached: the session that the run belongs to goes on no more by itself. */
  finish(reason?: string): void;
  /** Send a message to another entity of the system, or without `to` and `kind` where the channels lead. */
  send(content: string, options?: SendOptions): void;
}

export interface SendOptions {
  /** The name of the entity. */
  to?: string;
  kind?: "query" | "read";
  data?: { [name: string]: Json };
  /** The entity that alone gets the answer to a query. */
  replyTo?: string;
}

/** How far a lost attempt was with the answer: its text, "" if there is none, null if it was complete. */
export function beginning(run: Run): string | null;
/** The pieces of an answer that a model has gone on with from `text`. */
export function goOn(text: string, pieces: AsyncIterable<string> | Iterable<string>): AsyncGenerator<string>;

/** What chunks of one shape mean. A path is "choices.0.delta"; "" is the chunk itself. */
export interface Rule {
  /** Path → what is there: a value, one of several, the beginning of a text ("tool*"), or "*" for anything. */
  when: Record<string, Json>;
  /** The path of a list, for each item of which the rule counts; `where` is `when` for the item. */
  each?: string;
  where?: Record<string, Json>;
  /** The path of what the piece belongs to, an answer or a message. */
  of?: string;
  /** The path of a piece of text, or of what a model thinks. */
  text?: string;
  reasoning?: string;
  /** What the text is, if it is no answer. */
  message?: { role?: Role; type?: MessageType };
  /** Name → path: the data of that message. */
  data?: Record<string, string>;
  /** The path of who says the text, where that is not the worker. */
  author?: string;
  /** The paths of a call of a function: `arguments` are pieces of JSON, `key` what its later pieces share. */
  call?: { key?: string; id?: string; name?: string; arguments?: string };
  /** What a call has resulted in. */
  result?: { id: string; value?: string; error?: string };
  /** A picture; the end of `format` is its type: "base64.jpeg". */
  image?: { base64: string; alt?: string; format?: string };
  /** The agent goes on only if the user agrees to a prompt, or that a code is executed. */
  confirm?: { prompt?: string; code?: string; language?: string };
  step?: string;
  /** Name → path of what was used so far; with `adds` since the last time. */
  usage?: Record<string, string>;
  adds?: boolean;
  /** The path of the reason why it has failed: this ends the run. */
  error?: string;
  retryable?: boolean;
  /** That is complete. */
  end?: boolean;
  /** How far a model's answer is. One that is over, or the stream, without being complete has no end. */
  answer?: "begun" | "complete" | "over";
}

/**
 * The worker of a function that streams: text, chunks of OpenAI's chat completions or Responses API or of
 * Anthropic's messages, or a library's stream of them; or of such a stream.
 */
export function serve(agent: (run: Run) => unknown, options?: { rules?: Rule[] }): Worker;
export function serve<T>(
  agent: (input: T) => unknown,
  options: { rules?: Rule[]; input: (run: Run) => T | Promise<T> },
): Worker;
export function serve(agent: AsyncIterable<unknown> | Iterable<unknown>, options?: { rules?: Rule[] }): Worker;
