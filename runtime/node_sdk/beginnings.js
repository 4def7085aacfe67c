// Half an answer, with which a model goes on: resume = "continue" for workers that give one answer.

/**
 * How far a lost attempt was with the answer: its text, "" if there is none, null if it was complete.
 *
 * Where there is a thought only, the run begins anew: no model goes on with half of one.
 */
export function beginning(run) {
  const text = run.open.filter((message) => message.channel === "answer").map((message) => message.content).join("");
  if (text.trim()) return text;
  if (run.earlier.some((message) => message.channel === "answer")) return null;
  if ([...run.earlier, ...run.open].some((message) => message.channel === "reasoning")) run.discard();
  return "";
}

/**
 * The pieces of an answer that a model has gone on with from `text`, without its last white space.
 *
 * Models are given the text without that, and may say it again.
 */
export async function* goOn(text, pieces) {
  let space = text.slice(text.trimEnd().length);
  for await (let piece of pieces) {
    while (space && piece[0] === space[0]) {
      piece = piece.slice(1);
      space = space.slice(1);
    }
    if (piece) {
      space = "";
      yield piece;
    }
  }
}
