// Says the time `n` times, with `gap` seconds between: the worker stamp, in JavaScript.
import { setTimeout as sleep } from "node:timers/promises";

/** Each delta is the moment of its writing, in seconds since 1970, and a semicolon. */
export default async function* run(run) {
  const { n, gap } = run.args;
  for (let number = 0; number < n; number++) {
    yield `${((performance.timeOrigin + performance.now()) / 1000).toFixed(6)};`;
    if (gap) await sleep(gap * 1000);
  }
}
