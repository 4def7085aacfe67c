import assert from "node:assert/strict";
import { test } from "node:test";

import { Cancelled, Failure, Message, beginning, goOn, serve } from "../../runtime/node_sdk/index.js";
import { runOf } from "../../runtime/node_sdk/driver.js";
import { Exchange } from "../../runtime/node_sdk/exchange.js";
import { execute } from "../../runtime/node_sdk/testing.js";

test("what a worker yields, returns or says is the answer", async () => {
  const workers = [
    () => "a text",
    async (run) => run.delta("a text"),
    function* () { yield "a "; yield "text"; },
    async function* () { yield "a "; return "text"; },
    () => ({ type: "message", content: "a text" }),
  ];
  for (const worker of workers) {
    const { status, text } = await execute(worker);
    assert.deepEqual([status, text], ["success", "a text"]);
  }
});

test("an error fails the run, and a failure says whether another attempt may help", async () => {
  const failed = await execute(() => { throw new TypeError("no such thing"); });
  const busy = await execute((run) => {
    if (run.attempt === 1) throw new Failure("Busy.", { retryable: true });
    return "now";
  });

  assert.deepEqual([failed.status, failed.error.message], ["error", "TypeError: no such thing"]);
  assert.equal(busy.status, "queued");
  assert.equal((await busy.resume()).text, "now");
});

test("a misspelt event is an error", async () => {
  const { error } = await execute((run) => run.emit({ type: "dleta", text: "x" }));

  assert.match(error.message, /"dleta" is no event of the protocol/);
});

test("a step is taken once, with its usage, and its result is what JSON makes of it", async () => {
  let taken = 0;
  const worker = async function* (run) {
    const plan = async (topic) => {
      run.usage({ tokens: 2 });
      return { topic, at: ++taken, nothing: undefined };
    };
    yield JSON.stringify(await run.once("plan", plan, "tides"));
    await run.once(plan)("birds");
    yield await run.confirm("Go on?");
  };

  const waiting = await execute(worker);
  const done = await waiting.answer("yes");

  assert.equal(taken, 2);
  assert.deepEqual(waiting.saved, { plan: { topic: "tides", at: 1 }, "plan#1": { topic: "birds", at: 2 } });
  assert.deepEqual(done.usage, { tokens: 4 });
  assert.equal(done.text, '{"topic":"tides","at":1}\n\nyes');
});

test("a step with other arguments than before is refused, and so is what it says", async () => {
  const changed = async (run) => {
    await run.once("plan", (attempt) => attempt, run.attempt);
    await run.confirm("Go on?");
  };
  const talking = (run) => run.once("talk", () => run.delta("x"));

  assert.match((await (await execute(changed)).answer("yes")).error.message, /with other arguments/);
  assert.match((await execute(talking)).error.message, /within the step "talk" would be missing/);
});

test("an answer belongs to its question", async () => {
  const worker = async (run) => run.confirm(`Delete ${run.attempt} files?`);

  const { error } = await (await execute(worker)).answer("yes");

  assert.match(error.message, /asks something else than was answered/);
});

test("a worker that does not come back to its question fails", async () => {
  const worker = async (run) => {
    if (run.attempt === 1) await run.confirm("Go on?");
  };

  assert.match((await (await execute(worker)).answer("yes")).error.message, /did not reach its answered question "1"/);
});

test("a call of a function has its result, also where it fails or the run ends", async () => {
  const { messages, status } = await execute(async (run) => {
    await run.tool("add", { a: 1 }, () => 3, { id: "c1" });
    const streamed = run.tool("find");
    streamed.arguments('{"q":');
    streamed.arguments("1}");
    streamed.result("found");
    run.tool("left", {});
    await run.tool("fail", {}, () => { throw new Failure("It is broken."); });
  });

  assert.equal(status, "error");
  assert.deepEqual(
    messages.map(({ role, content, data }) => [role, content, data.arguments ?? data.result, data.is_error]),
    [
      ["assistant", "", { a: 1 }, undefined],
      ["tool", "", 3, undefined],
      ["assistant", '{"q":1}', undefined, undefined],
      ["tool", "", "found", undefined],
      ["assistant", "", {}, undefined],
      ["assistant", "", {}, undefined],
      ["tool", "", "It is broken.", true],
      ["tool", "", "It is broken.", true],
    ],
  );
});

test("a call whose result waits for a question goes on after the answer", async () => {
  const worker = (run) => run.tool("delete", {}, () => run.confirm("Delete it?"), { id: "c1" }).then(() => {});

  const done = await (await execute(worker)).answer("yes");

  assert.deepEqual(done.events.map(({ type, data }) => [type, data?.result]), [["message", "yes"], ["done", undefined]]);
});

test("the inbox gives what has arrived, in order", async () => {
  const { text, unread } = await execute(
    async function* (run) {
      for await (const message of run.inbox()) yield `${message.content} `;
      yield String(await run.inbox.poll());
    },
    "hi",
    { inbox: ["and birds?", null, null, "later"] },
  );

  assert.equal(text, "and birds? null");
  assert.deepEqual(unread, ["later"]);
});

test("a sub-run gives its result and its text, and its failure throws nothing", async () => {
  const echo = (run) => `echo ${run.messages.at(-1).content} ${run.config.mood}`;
  const { text } = await execute(
    async function* (run) {
      yield* run.call("echo", "a", { config: { mood: "!" } });
      const [one, none] = await Promise.all([run.call("echo", ["b"], { id: "b" }), run.call("nobody", "c")]);
      yield ` ${one.text} ${none.status} ${none.error.code}`;
    },
    "hi",
    { calls: { echo } },
  );

  assert.equal(text, "echo a ! echo b undefined error call_refused");
});

test("the state is given on where it has changed", async () => {
  const count = (run) => { run.state.turns = (run.state.turns ?? 0) + 1; };

  assert.deepEqual((await execute(count, "hi", { state: { turns: 2 } })).state, { turns: 3 });
  assert.equal((await execute(() => "x")).events.length, 2);
});

test("a cancelled worker cleans up once, and its signal is aborted", async () => {
  let reason;
  const { status, text } = await execute(
    async function* (run) {
      try {
        for (;;) yield "x";
      } catch (error) {
        reason = error;
        yield "never seen";
      } finally {
        run.delta(` cleaned up ${run.signal.aborted}`);
      }
    },
    "hi",
    { cancelAfter: 3 },
  );

  assert.ok(reason instanceof Cancelled);
  assert.deepEqual([status, text.replace(/^x+/, "")], ["cancelled", " cleaned up true"]);
});

/** Have the run be one of a server, as long as a test takes. */
function withServer(context) {
  const environ = { BRANCHLINE_API_URL: "http://api", BRANCHLINE_RUN_TOKEN: "t0ken", BRANCHLINE_RUN_ID: "r1" };
  Object.assign(process.env, environ);
  context.after(() => Object.keys(environ).forEach((name) => delete process.env[name]));
}

test("files are read for models, and those that a run makes are shown", async (context) => {
  const asked = [];
  withServer(context);
  context.mock.method(globalThis, "fetch", async (url, { method = "GET", headers }) => {
    asked.push([method, url, headers.Authorization]);
    if (method === "POST") return Response.json({ file: { id: "f9", name: "a.csv", type: "text/csv", size: 3 } });
    if (url.endsWith("/f5")) return new Response("<h1>No such route</h1>", { status: 404 });
    const gone = { type: "urn:branchline:problem:not-found", detail: "It is gone." };
    return url.endsWith("/f3") ? Response.json(gone, { status: 404 }) : new Response("tides");
  });
  const file = (id, type) => ({ id, name: id, type, size: 5 });
  const files = [file("f1", "text/plain"), file("f2", "application/pdf"), file("f4", "application/zip")];
  const worker = async (run) => {
    await run.readFiles();
    await run.file("a.csv", "1,2", { text: "Here." });
    return JSON.stringify(run.asOpenAI());
  };

  const done = await execute(worker, [{ role: "user", content: "Read.", files }]);
  const gone = await execute(worker, [{ role: "user", content: "", files: [file("f3", "image/png")] }]);
  const away = await execute(worker, [{ role: "user", content: "", files: [file("f5", "image/png")] }]);

  assert.deepEqual(JSON.parse(done.text.slice(done.text.indexOf("[")))[0].content, [
    { type: "text", text: "File f1:\n\ntides" },
    { type: "file", file: { filename: "f2", file_data: "data:application/pdf;base64,dGlkZXM=" } },
    { type: "text", text: "(File f4, application/zip, 5 bytes, which cannot be shown here.)" },
    { type: "text", text: "Read." },
  ]);
  assert.deepEqual(done.events[0].files, ["f9"]);
  assert.deepEqual([gone.status, gone.error.message], ["error", "It is gone."]);
  assert.equal(away.status, "queued");
  assert.match(away.error.message, /not the server but something in between answered 404/);
  assert.ok(asked.every(([, , authorization]) => authorization === "Bearer t0ken"));
});

test("a search of a test is among its passages, and what it adds is found", async () => {
  const passages = [
    { text: "Cats eat mice.", titles: ["Cats", "Food"], source: "pets", document: "cats.md" },
    { text: "Dogs eat bones.", source: "pets", document: "dogs.md", position: 4 },
    { text: "Cats sleep, eat and purr.", source: "other", document: "more.md" },
  ];
  const worker = async (run) => {
    const found = async (...asked) => (await run.search(...asked)).map(({ text }) => text);
    const told = [await found("what do cats eat", { k: 2 }), await found("eat food", { source: "pets" }), await found("bones", { source: null }), await found("*")];
    const added = [];
    for (const text of ["Fish swim.", Buffer.from("Fish swim."), "Fish dive."]) {
      added.push(await run.addDocument("pets", "fish.md", text, { validator: "v" }));
    }
    const { digest, validator } = await run.findDocument("pets", "fish.md");
    const gone = await run.findDocument("other", "fish.md");
    return JSON.stringify([...told, added, digest.length, validator, gone, await found("fish swim")]);
  };

  const { text, error } = await execute(worker, "hi", { passages });

  assert.equal(error, null);
  assert.deepEqual(JSON.parse(text), [
    ["Cats eat mice.", "Cats sleep, eat and purr."],
    ["Cats eat mice.", "Dogs eat bones."],
    ["Dogs eat bones."],
    [],
    [true, false, true],
    64,
    "v",
    null,
    ["Fish dive."],
  ]);
});

test("a search of a run is a request, and so is a document", async (context) => {
  const asked = [];
  withServer(context);
  context.mock.method(globalThis, "fetch", async (url, { method = "GET", body }) => {
    asked.push([method, url.replace(/.*\//, ""), body]);
    if (method === "POST") return Response.json({ document: {}, changed: false }, { status: 201 });
    if (url.includes("/search?q=no")) {
      return Response.json({ type: "urn:branchline:problem:forbidden", detail: "It is no grant." }, { status: 403 });
    }
    const items = [{ text: "Cats purr.", document: "cats.md", titles: ["Cats"], source_id: "s1", score: 0.5 }];
    return Response.json(url.includes("/search") ? { items } : { document: { digest: "abc" } });
  });
  const found = await execute(async (run) => {
    const [{ titles, sourceId, score }] = await run.search("do cats purr?", { source: "my pets" });
    const { digest } = await run.findDocument("pets", "a/b.md");
    return JSON.stringify([titles, sourceId, score, digest, await run.addDocument("pets", "a/b.md", "# B", { kind: "html" })]);
  });
  const refused = await execute((run) => run.search("no").then(() => "never"));

  assert.deepEqual(JSON.parse(found.text), [["Cats"], "s1", 0.5, "abc", false]);
  assert.deepEqual(asked, [
    ["GET", "search?q=do+cats+purr%3F&k=5&source=my+pets", undefined],
    ["GET", "documents?source=pets&name=a%2Fb.md", undefined],
    ["POST", "documents?source=pets&name=a%2Fb.md&kind=html", "# B"],
    ["GET", "search?q=no&k=5", undefined],
  ]);
  assert.deepEqual([refused.error.message, refused.error.retryable], ["It is no grant.", false]);
});

test("a search is made again while the server is away", async (context) => {
  const answers = [() => new Response("<h1>", { status: 502 }), () => Promise.reject(new Error("reset")), () => Response.json({ items: [] })];
  withServer(context);
  context.mock.timers.enable({ apis: ["setTimeout"] });
  context.mock.method(globalThis, "fetch", async () => {
    const answer = answers.shift();
    if (answers.length) setImmediate(() => context.mock.timers.tick(500)); // once it waits
    return answer();
  });
  assert.deepEqual(JSON.parse((await execute(async (run) => JSON.stringify(await run.search("cats")))).text), []);
  assert.equal(answers.length, 0);
});

test("steps go back to the one around them", async () => {
  const { events } = await execute(async (run) => {
    await run.step("outer", () => run.step("inner", () => null));
    run.step("last");
  });

  assert.deepEqual(
    events.filter(({ type }) => type === "step").map(({ description }) => description),
    ["outer", "inner", "outer", "last"],
  );
});

test("half an answer is gone on with", async () => {
  const open = [new Message({ role: "assistant", content: "one two " })];
  const pieces = [];
  for await (const piece of goOn(beginning({ open, earlier: [] }), [" ", " three"])) pieces.push(piece);

  assert.deepEqual(pieces, [" three"]);
  assert.equal(beginning({ open: [], earlier: [new Message({ role: "assistant" })] }), null);
});

test("a worker may begin anew before it has come to its answered question", () => {
  const written = [];
  const line = { continued: true, answers: [{ confirmation_id: "1", answer: "go" }] };
  const run = runOf(line, new Exchange((text) => written.push(JSON.parse(text))));

  assert.throws(() => run.discard(), { name: "Suspended" });
  assert.deepEqual(written, [{ type: "discard" }]);
});

test("where the library of MCP is missing, the run says what to install", async () => {
  const { error } = await execute((run) => run.mcp({ numbers: { command: "numbers" } }).then(() => "never"));
  assert.match(error.message, /^run\.mcp\(\) needs .* npm install @modelcontextprotocol\/sdk@1$/);
});

/** Chunks of a chat completion with these deltas. */
const completion = (...deltas) =>
  deltas.map((delta) => ({ object: "chat.completion.chunk", id: "c1", choices: [{ index: 0, delta }] }));
const FINISH = { object: "chat.completion.chunk", id: "c1", choices: [{ index: 0, delta: {}, finish_reason: "stop" }] };
/** What a reader sees of the messages. */
const shown = ({ messages }) => messages.map(({ type, channel, content, data }) => [type, channel, data.result ?? content]);

test("serve makes a worker of whatever streams", async () => {
  const agents = [
    () => "a text",
    async () => ["a ", "text"],
    function* () { yield "a "; yield "text"; },
    async function* () { yield* completion({ content: "a " }, { content: "text" }); yield FINISH; },
    () => new ReadableStream({ start(to) { to.enqueue("a "); to.enqueue("text"); to.close(); } }),
    async () => ({ async *[Symbol.asyncIterator]() { yield* completion({ content: "a text" }); yield FINISH; } }),
    new ReadableStream({ start(to) { to.enqueue("a text"); to.close(); } }),
  ];
  for (const agent of agents) {
    const { status, text, error } = await execute(serve(agent));
    assert.deepEqual([error, status, text], [null, "success", "a text"]);
  }
  const given = serve((said) => said, { input: (run) => run.messages[0].content });
  assert.equal((await execute(given, "hello")).text, "hello");
});

test("serve shows what a chat completion thinks, calls and uses", async () => {
  const call = (fields) => ({ tool_calls: [{ index: 0, ...fields }] });
  const result = await execute(serve(async function* () {
    yield* completion(
      { reasoning_content: "Hm." },
      { content: "Let me see." },
      call({ id: "call_1", function: { name: "add", arguments: '{"a":' } }),
      call({ function: { arguments: "1}" } }),
    );
    yield { ...FINISH, usage: { prompt_tokens: 3, completion_tokens: 4 } };
    yield { role: "tool", tool_call_id: "call_1", content: "2" };
    yield* completion({ content: "Two." }).map((chunk) => ({ ...chunk, id: "c2" }));
    yield { ...FINISH, id: "c2", usage: { prompt_tokens: 5, completion_tokens: 6 } };
  }));

  assert.equal(result.error, null);
  assert.deepEqual(shown(result), [
    ["text", "reasoning", "Hm."],
    ["text", "answer", "Let me see."],
    ["function", "answer", '{"a":1}'],
    ["function", "answer", "2"],
    ["text", "answer", "Two."],
  ]);
  assert.deepEqual(result.usage, { input_tokens: 8, output_tokens: 10 });
});

test("serve shows the events of the Responses API and of Anthropic's messages", async () => {
  const item = { type: "function_call", call_id: "call_1", name: "add", arguments: "" };
  const responses = [
    { type: "response.output_text.delta", item_id: "m1", delta: "Let me see." },
    { type: "response.output_item.done", item: { id: "m1" }, output_index: 0 },
    { type: "response.output_item.added", output_index: 1, item },
    { type: "response.function_call_arguments.delta", output_index: 1, delta: '{"a":1}' },
    { type: "response.output_item.done", item: { id: "f1" }, output_index: 1 },
    { type: "function_call_output", call_id: "call_1", output: "2" },
    { type: "response.completed", response: { id: "r1", usage: { input_tokens: 3 } } },
  ];
  const anthropic = [
    { type: "message_start", message: { id: "a1", usage: { input_tokens: 3 } } },
    { type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "Let me see." } },
    { type: "content_block_stop", index: 0 },
    { type: "content_block_start", index: 1, content_block: { type: "tool_use", id: "call_1", name: "add" } },
    { type: "content_block_delta", index: 1, delta: { type: "input_json_delta", partial_json: '{"a":1}' } },
    { type: "content_block_stop", index: 1 },
    { type: "tool_result", tool_use_id: "call_1", content: "2" },
    { type: "message_stop" },
  ];
  for (const events of [responses, anthropic]) {
    const result = await execute(serve(() => events));
    assert.equal(result.error, null);
    assert.deepEqual(shown(result), [
      ["text", "answer", "Let me see."],
      ["function", "answer", '{"a":1}'],
      ["function", "answer", "2"],
    ]);
    assert.deepEqual(result.usage, { input_tokens: 3 });
  }
});

test("a stream that ends is no answer that ends", async () => {
  const streams = [
    completion({ content: "so far" }),
    [FINISH, ...completion({ content: "so far" }).map((chunk) => ({ ...chunk, id: "c2" }))],
    [{ type: "response.created", response: { id: "r1" } }, { type: "response.output_text.delta", delta: "so far" }],
    [
      { type: "message_start", message: { id: "a1" } },
      { type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "so far" } },
    ],
  ];
  for (const chunks of streams) {
    const { status, text, error } = await execute(serve(() => chunks));
    assert.deepEqual([status, text], ["queued", "so far"]);
    const message = "The model's server broke off, or its last chunk was not given on: the answer has no end.";
    assert.equal(error.message, message);
  }
});

test("a rule says what a chunk means that serve does not know", async () => {
  const agent = () => [{ event: "token", value: { words: "two words" } }];
  const rules = [{ when: { event: "tok*", "value.words": "*" }, text: "value.words" }];

  assert.equal((await execute(serve(agent, { rules }))).text, "two words");
  assert.match((await execute(serve(agent))).error.message, /a chunk with event, value means; say so with a rule/);
  assert.throws(() => serve(agent, { rules: [{ when: {}, words: "x" }] }), /a rule has no "words"/);
  assert.throws(() => serve(3), /serve\(\) takes a function/);
});

test("a rule says who speaks, and which messages and pictures a chunk is", async () => {
  const chunks = [
    { by: "planner", say: "Plan." },
    { by: "planner", say: " Done." },
    { by: `${"🐈".repeat(201)}`, say: "I write." },
    { code: "1 + 1", language: "python" },
    { picture: "iVBORw==", format: "base64.JPG" },
  ];
  const rules = [
    { when: { say: "*" }, text: "say", author: "by" },
    { when: { code: "*" }, text: "code", message: { type: "code" }, data: { language: "language" } },
    { when: { picture: "*" }, image: { base64: "picture", format: "format" } },
  ];

  const { messages, error } = await execute(serve(() => chunks, { rules }));

  assert.equal(error, null);
  assert.deepEqual(messages.map(({ type, author, content, data }) => [type, author, content, data]), [
    ["text", "planner", "Plan. Done.", {}],
    ["text", "🐈".repeat(200), "I write.", {}],
    ["code", null, "1 + 1", { language: "python" }],
    ["image", null, "A picture.", { url: "data:image/jpeg;base64,iVBORw==" }],
  ]);
});

test("an agent goes on only if the user agrees", async () => {
  let ended = 0;
  const agent = async function* () {
    try {
      yield "First. ";
      yield { type: "confirmation", code: "rm -r tides", language: "sh" };
      yield "Second. ";
      yield { type: "confirmation", content: null };
      yield "Third.";
    } finally {
      ended += 1;
    }
  };
  const rules = [
    { when: { type: "confirmation", code: null }, confirm: { prompt: "content" } },
    { when: { type: "confirmation", code: "*" }, confirm: { code: "code", language: "language" } },
  ];

  const first = await execute(serve(agent, { rules }));
  assert.deepEqual([first.error, first.text], [null, "First. "]);
  assert.deepEqual(first.question.options, ["yes", "no"]);
  assert.equal(first.question.prompt, "Execute this sh code?\n\nrm -r tides");
  assert.equal((await first.answer("no")).text, "First. ");
  const second = await first.answer("yes");
  assert.deepEqual([second.text, second.question.prompt], ["First. \n\nSecond. ", "Go on?"]);
  assert.equal((await second.answer("yes")).text, "First. \n\nSecond. \n\nThird.");
  assert.equal(ended, 4);
});

test("what a provider raises through its library fails the run, retryable where that may help", async () => {
  class APIConnectionError extends Error {}
  const failing = (error) => execute(serve(async function* () { yield "so far"; throw error; }));
  const busy = await failing(Object.assign(new Error("429 Slow down"), { status: 429 }));
  const wrong = await failing(Object.assign(new Error("401 No key"), { status: 401 }));
  const cut = await failing(new APIConnectionError("Connection error."));
  const bug = await failing(new TypeError("no such thing"));

  const poor = await failing(Object.assign(new Error("429 Pay"), { status: 429, code: "insufficient_quota" }));
  const reset = Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET" });
  const broken = await failing(new TypeError("terminated", { cause: reset }));

  assert.deepEqual([busy.status, cut.status, broken.status], ["queued", "queued", "queued"]);
  assert.equal(broken.error.message, "The model's server broke off: read ECONNRESET");
  assert.equal(poor.status, "error");
  assert.deepEqual([wrong.status, wrong.error.message], ["error", "401 No key"]);
  assert.deepEqual([bug.status, bug.error.message], ["error", "TypeError: no such thing"]);
  assert.equal(wrong.messages[0].content, "so far");
  const overloaded = [{ type: "error", error: { type: "overloaded_error", message: "Overloaded" } }];
  assert.equal((await execute(serve(() => overloaded))).status, "queued");
});
