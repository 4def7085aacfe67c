// Rules: what a chunk of a known shape means, as data. They are those of the Python SDK (adapters/rules.py).
//
// A rule names a shape by what its chunks have at certain paths, and says where the meaning is. A path is
// "choices.0.delta": names from the outside to the inside; "" is the chunk itself.

const FIELDS = [
  "when", "each", "where", "of", "text", "reasoning", "message", "data", "author", "call", "result", "image", "confirm",
  "step", "usage", "adds", "error", "retryable", "end", "answer",
];

/** Throw where a rule has what no rule has. */
export function check(rules) {
  for (const rule of rules) {
    const unknown = Object.keys(rule).find((name) => !FIELDS.includes(name));
    if (unknown) throw new TypeError(`a rule has no ${JSON.stringify(unknown)}; it has ${FIELDS.join(", ")}`);
    if (!rule.when) throw new TypeError("a rule says when it counts: { when: { … } }");
  }
}

/** What a chunk means: of the first table with a rule that fits it, by all that do. null: none does. */
export function meaningsOf(chunk, tables) {
  for (const table of tables) {
    const fitting = table.filter((rule) => fits(rule.when, chunk));
    if (fitting.length) return fitting.flatMap((rule) => [...read(rule, chunk)]).filter(({ kind }) => kind !== "answer");
  }
  return null;
}

/** How far answers are by a chunk; that counts whichever table says what the chunk means. */
export function answersOf(chunk, tables) {
  const fitting = tables.flat().filter((rule) => rule.answer && fits(rule.when, chunk));
  return fitting.flatMap((rule) => [...read(rule, chunk)]).filter(({ kind }) => kind === "answer");
}

function* read(rule, chunk) {
  const of = rule.of === undefined ? null : keyOf(at(chunk, rule.of));
  if (rule.each === undefined) {
    yield* meanings(rule, chunk, of);
    return;
  }
  const items = at(chunk, rule.each);
  if (!Array.isArray(items)) return;
  for (const item of items) if (fits(rule.where ?? {}, item)) yield* meanings(rule, item, of);
}

function* meanings(rule, chunk, of) {
  for (const [channel, path] of [["answer", rule.text], ["reasoning", rule.reasoning]]) {
    const text = path === undefined ? null : at(chunk, path);
    if (typeof text !== "string" || !text) continue;
    const data = rule.data && valuesOf(rule.data, chunk);
    const author = rule.author === undefined ? null : at(chunk, rule.author);
    yield { kind: "text", of, text, channel, ...rule.message, data, author: author ? String(author) : undefined };
  }
  if (rule.call) yield { kind: "call", of, ...valuesOf(rule.call, chunk) };
  if (rule.result) yield { kind: "result", ...valuesOf(rule.result, chunk) };
  if (rule.confirm) yield { kind: "confirm", ...valuesOf(rule.confirm, chunk) };
  if (rule.image) yield { kind: "image", ...valuesOf(rule.image, chunk) };
  const step = rule.step === undefined ? null : at(chunk, rule.step);
  if (step) yield { kind: "step", description: String(step) };
  const amounts = Object.entries(valuesOf(rule.usage ?? {}, chunk)).filter(([, amount]) => amount);
  if (amounts.length) yield { kind: "usage", of, amounts: Object.fromEntries(amounts), adds: Boolean(rule.adds) };
  if (rule.end) yield { kind: "end", of };
  if (rule.answer) yield { kind: "answer", of, state: rule.answer };
  if (rule.error !== undefined) {
    const message = String(at(chunk, rule.error) || "The model has failed.");
    yield { kind: "error", message, retryable: Boolean(rule.retryable) };
  }
}

/** What is at a path of a chunk; null where there is nothing. */
function at(chunk, path) {
  let found = chunk;
  for (const name of path ? path.split(".") : []) found = found?.[name];
  return found ?? null;
}

function valuesOf(paths, chunk) {
  return Object.fromEntries(Object.entries(paths).map(([name, path]) => [name, at(chunk, path)]));
}

function keyOf(value) {
  return value === null ? null : String(value);
}

function fits(conditions, chunk) {
  return Object.entries(conditions).every(([path, wanted]) => is(at(chunk, path), wanted));
}

/** A value, one of several, a text that ends with `*` for its beginning, or `*` for anything but null. */
function is(value, wanted) {
  if (wanted === "*") return value !== null;
  if (Array.isArray(wanted)) return wanted.some((one) => is(value, one));
  if (typeof wanted === "string" && wanted.endsWith("*")) {
    return typeof value === "string" && value.startsWith(wanted.slice(0, -1));
  }
  return value === wanted;
}
