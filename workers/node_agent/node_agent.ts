// An agent: a model is asked, the tools that it calls are executed, and it is asked again with their results.
import { Failure, type Run } from "branchline";

import { ask, type Turn } from "./chat.ts";
import { TOOLS, execute } from "./tools.ts";

export default async function* run(run: Run): AsyncGenerator<string> {
  await run.readFiles();
  const conversation = run.asOpenAI("chat", { system: run.config.system_prompt });
  const maxTurns: number = run.config.max_turns;
  for (let number = 1; number <= maxTurns; number++) {
    const turn = yield* take(run, number, conversation);
    if (!turn.calls.length) return;
    const content = turn.text || null;
    conversation.push({ role: "assistant", content, tool_calls: turn.calls });
    for (const [index, call] of turn.calls.entries()) {
      const result = await execute(run, `${number}.${index + 1}`, call);
      conversation.push({ role: "tool", tool_call_id: call.id, content: result });
    }
    for await (const message of run.inbox()) conversation.push({ role: "user", content: message.content });
  }
  throw new Failure(`The model has asked for tools ${maxTurns} times and has not answered; allow more turns.`);
}

/** One answer of the model: said as it comes, and kept, so that no later attempt pays for it again. */
async function* take(run: Run, number: number, conversation: object[]): AsyncGenerator<string, Turn> {
  const pieces = new Pieces();
  const asked = run.once(`turn ${number}`, () =>
    ask(run, conversation, TOOLS, (text) => pieces.add(text)).finally(() => pieces.end()),
  );
  asked.then(
    () => pieces.end(), // it was kept by an earlier attempt, and nobody was asked
    () => pieces.end(),
  );
  let said = "";
  for await (const piece of pieces) {
    said += piece;
    yield piece;
  }
  const turn = await asked;
  if (turn.text.length > said.length) yield turn.text.slice(said.length);
  return turn;
}

/** Text on its way from a step, which may say nothing itself, to the run. */
class Pieces {
  #waiting: string[] = [];
  #hasEnded = false;
  #wake = () => {};

  add(text: string): void {
    this.#waiting.push(text);
    this.#wake();
  }

  end(): void {
    this.#hasEnded = true;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<string> {
    while (true) {
      yield* this.#waiting.splice(0);
      if (this.#waiting.length) continue;
      if (this.#hasEnded) return;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}
