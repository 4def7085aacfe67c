// Servers of the Model Context Protocol, whose tools a worker calls.
//
// The official library does it, which the worker's folder has installed: this package has no dependencies.
import { join } from "node:path";
import vm from "node:vm";

import { Failure, Suspended } from "./errors.js";
import { CAPABILITIES, Questions } from "./mcp_questions.js";
import { functionName } from "./turns.js";

const LIBRARY = "@modelcontextprotocol/sdk";
const FIELDS = { command: ["command", "args", "env", "cwd"], url: ["url", "headers"] };
/** Milliseconds for all servers to start and to say which tools they have. */
const OPEN_MS = 60_000;
/** Milliseconds that the library waits for an answer: the longest that a timer can have. A signal ends it. */
const REQUEST_MS = 2 ** 31 - 1;
/** Milliseconds for a server to be told that its session has ended. */
const GOODBYE_MS = 1_000;

/** A tool has failed, or its server has refused the call. */
class ToolFailed extends Error {
  name = "ToolFailed";
}

/** The tools of all servers, by name. Each is a function of an object of arguments. */
export class Tools extends Map {
  #run;
  #signal;
  #questions;
  #openMs;
  #connections = [];
  #calls = new Set();

  /**
   * `signal`: aborted when the run is to stop. `ask` and `reached`: for what servers ask, see Questions.
   * `openMs`: milliseconds for all servers to be opened.
   */
  constructor(run, { signal, ask, reached, openMs = OPEN_MS }) {
    super();
    this.#run = run;
    this.#signal = signal;
    this.#questions = new Questions(ask, reached);
    this.#openMs = openMs;
  }

  /** Connect to servers. Rejects with Failure where one of them cannot be used. */
  async open(servers) {
    for (const [name, server] of Object.entries(servers)) check(name, server);
    const library = await load();
    const late = AbortSignal.timeout(this.#openMs);
    const signal = AbortSignal.any([this.#signal, late]);
    for (const [name, server] of Object.entries(servers)) {
      try {
        await unlessAborted(this.#add(name, transportOf(server, library), library, signal), signal);
      } catch (error) {
        await this.close();
        this.#signal.throwIfAborted();
        const time = `it did not answer within the ${this.#openMs / 1000} s that all servers have together`;
        const reason = late.aborted ? time : error.message;
        throw new Failure(`The MCP server ${JSON.stringify(name)} cannot be used: ${reason}`, { cause: error });
      }
    }
    return this;
  }

  /** Call a tool as a model asks for it: the text that the model is given, also where the tool fails. */
  async call(name, args, { id } = {}) {
    try {
      if (!this.has(name)) throw new ToolFailed(`There is no tool ${name}.`);
      const value = await this.get(name)(objectOf(args), { id });
      return typeof value === "string" ? value : JSON.stringify(value);
    } catch (error) {
      this.#signal.throwIfAborted();
      if (error instanceof Suspended || error instanceof Failure) throw error; // of a question: not the tool's
      return `Error: ${error.message}`;
    }
  }

  /** The argument `tools` of OpenAI's library. */
  asOpenAI(api = "chat") {
    const functions = [...this].map(([name, { description, schema }]) => ({ name, description, parameters: schema }));
    return functions.map((one) =>
      api === "chat" ? { type: "function", function: one } : { type: "function", strict: false, ...one },
    );
  }

  /** The argument `tools` of Anthropic's library. */
  asAnthropic() {
    return [...this].map(([name, { description, schema }]) => ({ name, description, input_schema: schema }));
  }

  /** End the servers; the end of the run does it as well. */
  async close() {
    for (const call of this.#calls) call.catch(() => {}); // nobody waits for it any more
    await Promise.allSettled(this.#connections.splice(0).map((end) => end()));
  }

  /** Have the tools of a server. One whose name is taken is called after its server, too. */
  async #add(server, transport, library, signal) {
    const client = this.#clientOf(server, library);
    this.#connections.push(() => end(client, transport));
    const options = { timeout: REQUEST_MS, signal };
    await client.connect(transport, options);
    for (let cursor; ; ) {
      const page = await client.listTools({ cursor }, options);
      for (const told of page.tools) this.#addTool(server, told, client);
      cursor = page.nextCursor;
      if (!cursor) return;
    }
  }

  /** A client that asks the user what the server asks. */
  #clientOf(server, { Client, ElicitRequestSchema }) {
    const client = new Client({ name: "branchline", version: "1" });
    if (!ElicitRequestSchema) return client; // the library is older than these questions
    client.registerCapabilities(CAPABILITIES);
    client.setRequestHandler(ElicitRequestSchema, ({ params }) => this.#questions.answer(server, params));
    return client;
  }

  #addTool(server, told, client) {
    let name = functionName(told.name);
    if (this.has(name)) name = functionName(`${server}_${told.name}`);
    const tool = (args = {}, { id } = {}) => {
      const call = this.#run.tool(name, args, (shown) => this.#request(client, told.name, args, shown), { id });
      this.#calls.add(call);
      const forget = () => this.#calls.delete(call);
      call.then(forget, forget);
      return call;
    };
    Object.defineProperty(tool, "name", { value: name });
    this.set(name, Object.assign(tool, { description: told.description ?? "", schema: told.inputSchema }));
  }

  async #request(client, name, args, shown) {
    let answer;
    try {
      const options = { timeout: REQUEST_MS, signal: this.#signal };
      answer = await this.#questions.untilAsked(client.callTool({ name, arguments: args }, undefined, options));
    } catch (error) {
      this.#signal.throwIfAborted(); // the library has an error of its own for that
      throw error;
    }
    const value = valueOf(answer);
    if (!answer.isError) return value;
    shown.result(value, { isError: true });
    throw new ToolFailed(typeof value === "string" ? value : JSON.stringify(value));
  }
}

/** The library, as the worker's file would import it. Rejects with Failure. */
async function load() {
  const importModuleDynamically = vm.constants?.USE_MAIN_CONTEXT_DEFAULT_LOADER;
  if (!importModuleDynamically) throw new Failure("run.mcp() needs Node.js 20.12 or newer.");
  const filename = process.argv[1] ?? join(process.cwd(), "worker.js");
  const load = new vm.Script("(name) => import(name)", { filename, importModuleDynamically }).runInThisContext();
  try {
    const names = ["client/index.js", "client/stdio.js", "client/streamableHttp.js", "types.js"];
    return Object.assign({}, ...(await Promise.all(names.map((name) => load(`${LIBRARY}/${name}`)))));
  } catch (error) {
    if (!error.message?.includes(LIBRARY)) throw error;
    const how = `install it in the worker's folder: npm install ${LIBRARY}@1`;
    throw new Failure(`run.mcp() needs the package ${LIBRARY}, version 1; ${how}`, { cause: error });
  }
}

function transportOf(server, { StdioClientTransport, StreamableHTTPClientTransport }) {
  if ("command" in server) return new StdioClientTransport(server);
  return new StreamableHTTPClientTransport(new URL(server.url), {
    requestInit: { headers: server.headers, redirect: "error" },
  });
}

/** What is awaited, unless the signal is aborted before: not all that the library awaits heeds one. */
function unlessAborted(awaited, signal) {
  return new Promise((resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    awaited.then(resolve, reject);
    if (signal.aborted) reject(signal.reason);
  });
}

async function end(client, transport) {
  const goodbye = transport.terminateSession?.().catch(() => {});
  await Promise.race([goodbye, new Promise((resolve) => setTimeout(resolve, GOODBYE_MS).unref())]);
  await client.close();
}

function check(name, server) {
  const kinds = Object.keys(FIELDS).filter((kind) => typeof server?.[kind] === "string");
  if (kinds.length !== 1) throw new TypeError(`the MCP server ${JSON.stringify(name)} needs a command or a url`);
  const unknown = Object.keys(server).find((field) => !FIELDS[kinds[0]].includes(field));
  if (unknown) throw new TypeError(`the MCP server ${JSON.stringify(name)} has an unknown field: ${unknown}`);
}

/** Arguments as an object; a model may write anything, or half of it. */
function objectOf(args) {
  let given = args ?? {};
  try {
    if (typeof given === "string") given = JSON.parse(given || "{}") ?? {};
  } catch (error) {
    throw new ToolFailed(`The arguments are no JSON: ${error.message}`);
  }
  if (typeof given !== "object" || Array.isArray(given)) throw new ToolFailed("The arguments are no object.");
  return given;
}

/** What a tool has returned: its structured result, or its text. */
function valueOf({ structuredContent, content = [] }) {
  if (structuredContent != null) {
    // A server in Python says so what is no object.
    const isAlone = Object.keys(structuredContent).join() === "result";
    return isAlone ? structuredContent.result : structuredContent;
  }
  return content.map((block) => (block.type === "text" ? block.text : JSON.stringify(block))).join("\n");
}
