import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { execute } from "branchline/testing";
import { Tools } from "./node_modules/branchline/mcp.js";

const SERVER = fileURLToPath(new URL("./server.mjs", import.meta.url));
const BY_PIPES = { numbers: { command: process.execPath, args: [SERVER], env: { TIDE: "high" } } };
const PORT = process.env.MCP_PORT;
const OVER_HTTP = { numbers: { url: `http://127.0.0.1:${PORT}/mcp`, headers: { "X-Tide": "high" } } };
let server;

before(async () => {
  server = spawn(process.execPath, [SERVER, PORT], { stdio: ["ignore", "pipe", "inherit"] });
  await once(server.stdout, "data");
});
after(() => server.kill());

/** The result of a worker that uses the tools of these servers. */
function using(servers, use) {
  return execute(async (run) => use(await run.mcp(servers), run));
}

/** A process that is there. */
function isAlive(pid) {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

for (const [kind, servers] of Object.entries({ "is started": BY_PIPES, "is reached over HTTP": OVER_HTTP })) {
  test(`tools of a server that ${kind} are called and shown`, async () => {
    const { text, messages, error } = await using(servers, async (tools) => {
      assert.deepEqual([...tools.keys()], ["add", "halve", "environment", "pid", "refuse", "sleep_long"]);
      const [sum, { half }] = await Promise.all([tools.get("add")({ a: 1, b: 2 }), tools.get("halve")({ n: 3 })]);
      return `${sum} ${half} ${await tools.get("environment")({ name: "TIDE" })}`;
    });

    assert.equal(error, null);
    assert.equal(text, kind === "is started" ? "3 1.5 high" : "3 1.5 ");
    const results = messages.filter((message) => message.role === "tool").map(({ data }) => [data.name, data.result]);
    assert.deepEqual(new Map(results).get("add"), "3");
    assert.deepEqual(new Map(results).get("halve"), { half: 1.5 });
  });
}

test("a model is given the tools and calls them", async () => {
  const { state, messages, error } = await using(OVER_HTTP, async (tools, run) => {
    const chat = tools.asOpenAI().find((one) => one.function.name === "add").function;
    const responses = tools.asOpenAI("responses").find((one) => one.name === "add");
    const anthropic = tools.asAnthropic().find((one) => one.name === "add");
    assert.deepEqual([chat.description, responses.description], ["Add two numbers.", "Add two numbers."]);
    assert.deepEqual(chat.parameters.required, ["a", "b"]);
    assert.deepEqual(anthropic.input_schema, tools.get("add").schema);
    run.state = [
      await tools.call("add", '{"a": 1, "b": 2}', { id: "call_9" }),
      await tools.call("add", { a: "one", b: 2 }),
      await tools.call("add", "{half"),
      await tools.call("refuse"),
      await tools.call("fly"),
    ];
  });

  assert.equal(error, null);
  assert.equal(state[0], "3");
  assert.match(state[1], /^Error: [^]*expected number/);
  assert.match(state[2], /^Error: The arguments are no JSON/);
  assert.equal(state[3], "Error: out of ink");
  assert.equal(state[4], "Error: There is no tool fly.");
  const results = messages.filter((message) => message.role === "tool").map((message) => message.data);
  assert.deepEqual(results[0], { call_id: "call_9", name: "add", result: "3" });
  assert.deepEqual(results.map((data) => data.is_error), [undefined, true, true]);
});

test("a tool that fails rejects", async () => {
  const { error } = await using(OVER_HTTP, (tools) => tools.get("refuse")());
  assert.equal(error.message, "ToolFailed: out of ink");
});

test("a tool whose name is taken is called after its server", async () => {
  const { text } = await using({ first: OVER_HTTP.numbers, second: OVER_HTTP.numbers }, async (tools) => {
    return `${await tools.get("add")({ a: 1, b: 1 })} ${await tools.get("second_add")({ a: 2, b: 2 })} ${tools.size}`;
  });
  assert.equal(text, "2 4 12");
});

test("a server ends with the run, also one that nobody waits for", async () => {
  const { text, error } = await using(BY_PIPES, async (tools) => {
    tools.get("sleep_long")();
    return tools.get("pid")();
  });
  assert.deepEqual([error, isAlive(Number(text))], [null, false]);
});

const BROKEN = [
  [{ command: "no-such-program" }, "ENOENT"],
  [{ command: process.execPath, args: ["-e", "0"] }, "Connection closed"],
  [{ url: "http://127.0.0.1:9/mcp" }, "fetch failed"],
];
for (const [broken, reason] of BROKEN) {
  test(`a server that cannot be used fails the run and is named: ${reason}`, async () => {
    const { status, error } = await using({ broken }, () => assert.fail("there is no such server"));
    assert.equal(status, "error");
    assert.ok(error.message.startsWith('The MCP server "broken" cannot be used: '), error.message);
    assert.ok(error.message.includes(reason), error.message);
  });
}

const ENDLESS = fileURLToPath(new URL("./endless.mjs", import.meta.url));
const LATE = {
  "goes on saying which tools it has": { command: process.execPath, args: [ENDLESS] },
  "says nothing": { command: process.execPath, args: ["-e", "process.stdin.resume()"] },
};
for (const [how, late] of Object.entries(LATE)) {
  test(`a server that ${how} has the time that all have together`, { timeout: 30_000 }, async () => {
    const tools = new Tools(null, { signal: new AbortController().signal, openMs: 500 });
    await assert.rejects(tools.open({ late }), {
      name: "Failure",
      message: 'The MCP server "late" cannot be used: it did not answer within the 0.5 s that all servers have together',
    });
  });
}

const WRONG = [
  [{}, "needs a command or a url"],
  [{ command: "a", url: "b" }, "needs a command or a url"],
  [{ command: "a", arguments: [] }, "has an unknown field: arguments"],
];
for (const [server, problem] of WRONG) {
  test(`a server that ${problem} is refused: ${Object.keys(server)}`, async () => {
    const { error } = await using({ x: server }, () => assert.fail("there is no such server"));
    assert.equal(error.message, `TypeError: the MCP server "x" ${problem}`);
  });
}
