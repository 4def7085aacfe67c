// Lines of a run's log: the time, the level, what happened, and its fields.
import { writeAll } from "./output.js";

const LEVELS = ["debug", "info", "warning", "error"];

export function log(message, fields, level) {
  if (!LEVELS.includes(level)) {
    throw new RangeError(`the level of a line is one of ${LEVELS.join(", ")}, not ${JSON.stringify(level)}`);
  }
  const [first, ...rest] = String(message).split(/\r?\n/);
  const named = Object.entries(fields).map(([name, value]) => ` ${name}=${asField(value)}`).join("");
  const indented = rest.map((line) => `\n  ${line}`).join("");
  writeAll(2, `${new Date().toISOString()} ${level.toUpperCase().padEnd(7)} ${first}${named}${indented}\n`);
}

/** A text as it is where its end can be seen; anything else as JSON. */
function asField(value) {
  if (typeof value === "string") return /^[\x21\x23-\x3c\x3e-\x7e]+$/.test(value) ? value : JSON.stringify(value);
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return JSON.stringify(String(value)); // a line of the log is no reason to fail
  }
}
