// What the server of tests/support/mcp_server.py asks, which is Python's.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { after, before, test } from "node:test";

import { execute } from "branchline/testing";

const { MCP_PYTHON: PYTHON, MCP_SERVER: SERVER, MCP_PORT: PORT } = process.env;
const BY_PIPES = { numbers: { command: PYTHON, args: [SERVER] } };
const OVER_HTTP = { numbers: { url: `http://127.0.0.1:${PORT}/mcp` } };
let server;

before(async () => {
  server = spawn(PYTHON, [SERVER, PORT], { stdio: ["ignore", "ignore", "pipe"] });
  for (let said = ""; !said.includes("running on"); said += (await once(server.stderr, "data"))[0]);
  server.stderr.resume();
});
after(() => server.kill());

/** The calls that a reader sees, with their results. */
const results = ({ messages }) => messages.filter(({ role }) => role === "tool").map(({ data }) => data.result);

for (const [kind, servers] of Object.entries({ "by its pipes": BY_PIPES, "over HTTP": OVER_HTTP })) {
  test(`what a server asks ${kind} is asked of the user, as a form`, async () => {
    const worker = async function* (run) {
      const book = (await run.mcp(servers)).get("book");
      yield await book({ place: "Nishiki" });
      yield await book({ place: "Gion" });
    };
    const waiting = await execute(worker, "book");
    assert.deepEqual([waiting.error, waiting.status], [null, "waiting"]);
    assert.equal(waiting.question.prompt, "For whom, at Nishiki?");
    const [wanted, decline] = waiting.question.schema.anyOf;
    assert.deepEqual([wanted.required, Object.keys(wanted.properties)], [["name"], ["name", "guests"]]);

    const second = await waiting.answer({ name: "Ann", guests: 3 });
    assert.deepEqual([second.error, second.question?.prompt], [null, "For whom, at Gion?"]);
    const done = await second.answer({ [decline.required[0]]: true });

    assert.deepEqual([done.error, done.text], [null, "3 at Nishiki for Ann\n\ndeclined"]);
    assert.deepEqual(results(done), ["3 at Nishiki for Ann", "declined"]);
  });
}

test("what a server asks while a model calls its tool is no error for the model", async () => {
  const worker = async (run) => (await run.mcp(OVER_HTTP)).call("book", '{"place": "Gion"}', { id: "call_9" });

  const waiting = await execute(worker, "book");
  const done = await waiting.answer({ name: "Ann" });

  assert.deepEqual([done.error, done.text], [null, "2 at Gion for Ann"]);
});

test("questions of calls that are made at the same time are told apart, in whatever order they come", async () => {
  const worker = async (run) => {
    const book = (await run.mcp(OVER_HTTP)).get("book");
    const places = run.attempt === 1 ? ["Gion", "Gion", "Nishiki"] : ["Nishiki", "Gion", "Gion"];
    return (await Promise.all(places.map((place) => book({ place })))).sort().join(", ");
  };

  let result = await execute(worker, "book");
  for (const name of ["Ann", "Ben", "Cem"]) {
    assert.deepEqual([result.error, result.status], [null, "waiting"]);
    result = await result.answer({ name });
  }

  assert.equal(result.error, null);
  assert.equal(result.text.replace(/Ann|Ben|Cem/g, "…"), "2 at Gion for …, 2 at Gion for …, 2 at Nishiki for …");
  assert.deepEqual(result.text.match(/Ann|Ben|Cem/g).sort(), ["Ann", "Ben", "Cem"]);
});
