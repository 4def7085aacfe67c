// The modes of the contract of worker types, by the package branchline.
import { setTimeout as sleep } from "node:timers/promises";

import { Failure } from "branchline";

const FOR_EVER = 3_600_000;

export default async function* run(run) {
  const { mode } = run.config;
  if (!run.open.length) yield "so far";
  switch (mode) {
    case "raise":
      throw new TypeError("as you asked");
    case "hang":
      return await sleep(FOR_EVER);
    case "crash":
      process.exit(3);
    case "garbage":
      console.log('plain words\n[1,2]\n{"type":"nonsense"}');
      yield " and on";
      break;
    case "flood":
      for (let n = 0; n < 5000; n++) yield ".";
      break;
    case "question":
      yield ` ${await run.confirm("Shall I?", { options: ["yes", "no"] })}`;
      break;
    case "once":
      yield ` ${await run.once("paid", () => run.attempt)}`;
      if (run.attempt === 1) throw new Failure("again", { retryable: true });
      break;
    case "call":
      yield ` ${(await run.call("typed-exec", "hi", { config: { mode: "ok" } })).text}`;
      break;
    case "steer": {
      let message;
      while ((message = await run.inbox.poll()) === null) await sleep(100);
      yield message.content;
      break;
    }
    case "cancel":
      try {
        await sleep(FOR_EVER, null, { signal: run.signal });
      } finally {
        run.delta(" cleaned up");
      }
      break;
    case "continue":
      if (!run.open.length) throw new Failure("again", { retryable: true });
      yield " and on";
  }
}
