// Answers with a greeting.

/**
 * Each piece that it yields appears in the conversation at once.
 *
 * @param {import("branchline").Run} run
 */
export default async function* run(run) {
  yield `${run.config.greeting}! `;
  yield `You said: ${run.messages.at(-1).content}`;
}
