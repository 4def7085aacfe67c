// The messages of the thread, as a worker gets them.
import { File } from "./files.js";

/** A message of the thread. */
export class Message {
  constructor(fields) {
    this.id = fields.id ?? null;
    this.role = fields.role ?? "user";
    this.type = fields.type ?? "text";
    this.channel = fields.channel ?? "answer";
    this.author = fields.author ?? null;
    this.content = fields.content ?? "";
    this.data = fields.data ?? {};
    this.files = (fields.files ?? []).map((file) => (file instanceof File ? file : new File(file)));
  }

  /** The message for a model that reads text only. */
  asText() {
    if (this.files.length && this.role !== "user") {
      return `${this.content}\n(Made: ${this.files.map((file) => file.name).join(", ")})`.trim();
    }
    switch (this.type) {
      case "code":
        return `\`\`\`${this.data.language ?? ""}\n${this.content}\n\`\`\``;
      case "console":
        return `\`\`\`console\n${this.content}\n\`\`\``;
      case "function":
        return functionAsText(this);
      case "confirmation":
        return "answer" in this.data ? `${this.content}\nAnswer: ${asText(this.data.answer)}` : this.content;
      default:
        return this.content;
    }
  }
}

/** A text as it is, anything else as JSON. */
export function asText(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}

function functionAsText({ role, data, content }) {
  let called = String(data.name || "function");
  const isResult = role === "tool";
  if ("arguments" in data || !isResult) called += `(${asText("arguments" in data ? data.arguments : content)})`;
  if (!("result" in data) && !isResult) return called;
  const verb = data.is_error === true ? "failed:" : "=";
  return `${called} ${verb} ${"result" in data ? JSON.stringify(data.result) : content}`;
}
