import { Failure, Message, beginning, goOn, serve, type Run, type Worker } from "branchline";
import { execute } from "branchline/testing";
export default async function* run(run: Run) {
  yield "x";
  const n: number = await run.once("plan", async (a: number) => a + 1, 3);
  const f = run.once((s: string) => s.length);
  const g: number = await f("x");
  const r = await run.call("echo", ["a", run.messages[0]!], { id: "x" });
  for await (const p of run.call("echo", "b")) yield p;
  for await (const m of run.inbox()) yield m.content;
  const v: number = await run.tool("add", { a: 1 }, (call) => { call.arguments("x"); return 3; });
  const call = run.tool("x"); call.result(null);
  await run.step("a", () => 3); run.step("b");
  const answer = await run.confirm("sure?", { options: ["yes"] });
  fetch("x", { signal: run.signal });
  const b = beginning(run); if (b !== null) yield* goOn(b, ["x"]);
  const tools = await run.mcp({ a: { command: "a", args: ["b"] }, c: { url: "https://c.example", headers: {} } });
  const sum: number = await tools.get("add")!({ a: 1 });
  const told: string = await tools.call("add", "{}", { id: "c1" });
  const hits = await run.search("tides", { k: 3, source: "books" });
  const there = await run.findDocument("books", hits[0]?.document ?? "x");
  const isNew: boolean = await run.addDocument("books", "a.md", "# A", { kind: "markdown", validator: there?.digest });
  if (isNew) yield hits[0]!.titles.join() + hits[0]!.sourceId;
  run.log(told, { sum, tools: tools.asOpenAI("responses"), schema: tools.get("add")?.schema });
  run.state.x = n + g + v + r.text.length + answer;
  if (run.cancelled) throw new Failure("x", { retryable: true });
}
export const served: Worker[] = [
  serve((run) => run.asOpenAI()),
  serve(async function* (run) { yield run.id; }, { rules: [{ when: { type: "x" }, text: "y", end: true }] }),
  serve((texts: string[]) => texts, { input: (run) => run.messages.map((message) => message.content) }),
  serve(new ReadableStream<string>()),
  serve(() => [], { rules: [{ when: {}, text: "x", author: "y", message: { type: "code" }, data: { language: "z" } }] }),
  serve(() => [], { rules: [{ when: {}, confirm: { code: "x" } }, { when: {}, image: { base64: "y" } }] }),
];
export const w1: Worker = run;
export const w2: Worker = (run) => "x";
export const w3: Worker = async (run) => { run.delta("x"); };
execute(w1, "x", { inbox: ["a", null], passages: [{ text: "Cats." }] }).then(async (r) => (await r.answer("yes")).text);
