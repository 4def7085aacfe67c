// Answers with a greeting.
import type { Run } from "branchline";

/** Each piece that it yields appears in the conversation at once. */
export default async function* run(run: Run): AsyncGenerator<string> {
  yield `${run.config.greeting}! `;
  yield `You said: ${run.messages.at(-1)?.content}`;
}
