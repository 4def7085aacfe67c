// Chat completions, streamed: one answer of a model.
import { Failure, type Run } from "branchline";

/** A call of a function, as the API has it. */
export interface Call {
  id: string;
  type: "function";
  function: { name: string; arguments: string };
}

export interface Turn {
  text: string;
  calls: Call[];
}

/** Statuses with which the same request may succeed later. */
const BUSY = [408, 409, 429];

/** Ask the model. `say` is given its text piece by piece. Throws Failure. */
export async function ask(
  run: Run,
  messages: object[],
  tools: object[],
  say: (text: string) => void,
): Promise<Turn> {
  const body = {
    model: run.config.model || process.env.OPENAI_MODEL || "gpt-5.4-mini",
    messages,
    tools,
    stream: true,
    stream_options: { include_usage: true },
  };
  const response = await post(run, body);
  const turn: Turn = { text: "", calls: [] };
  const written = new Map<number, Call>(); // by the index of their pieces
  let finish: string | null = null;
  for await (const data of events(run, response)) {
    if (data.error) throw new Failure(`The model's server reports: ${messageOf(data)}.`, { retryable: true });
    if (data.usage) {
      run.usage({ input_tokens: data.usage.prompt_tokens, output_tokens: data.usage.completion_tokens });
    }
    const choice = data.choices?.[0];
    if (!choice) continue;
    finish = choice.finish_reason ?? finish;
    if (choice.delta?.content) {
      turn.text += choice.delta.content;
      say(choice.delta.content);
    }
    for (const piece of choice.delta?.tool_calls ?? []) add(turn.calls, written, piece);
  }
  if (finish === null) throw new Failure("The model's answer was cut off.", { retryable: true });
  return turn;
}

/**
 * A piece of a call: the first has the name, and all have some of the arguments.
 *
 * Some servers give all calls one index, and others each piece an id of its own. So a call begins with
 * another index, or with another id and a name.
 */
function add(calls: Call[], written: Map<number, Call>, { index, id, function: fn }: any): void {
  let call = written.get(index ?? 0);
  if (!call || (fn?.name && id && call.id && id !== call.id)) {
    call = { id: "", type: "function", function: { name: "", arguments: "" } };
    calls.push(call);
    written.set(index ?? 0, call);
  }
  call.id ||= id ?? "";
  call.function.name += fn?.name ?? "";
  call.function.arguments += fn?.arguments ?? "";
}

async function post(run: Run, body: object): Promise<Response> {
  const url = `${process.env.OPENAI_BASE_URL || "https://api.openai.com/v1"}/chat/completions`;
  const headers = {
    "Content-Type": "application/json",
    Authorization: `Bearer ${process.env.OPENAI_API_KEY}`,
  };
  const response = await connected(run, fetch(url, { method: "POST", headers, body: JSON.stringify(body), signal: run.signal }));
  if (!response.ok) {
    const text = await connected(run, response.text());
    const retryable = BUSY.includes(response.status) || response.status >= 500;
    throw new Failure(`The model's server answers with ${response.status}: ${reasonIn(text)}.`, { retryable });
  }
  const kind = response.headers.get("Content-Type") ?? "nothing";
  if (!kind.startsWith("text/event-stream")) {
    throw new Failure(`The model's server answers with ${kind} and not with a stream.`, { retryable: true });
  }
  return response;
}

/** What the server says, event by event, up to its end. */
async function* events(run: Run, response: Response): AsyncGenerator<any> {
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  while (true) {
    const { done, value } = await connected(run, reader.read());
    if (done) return;
    const lines = (rest + value).split(/\r?\n/);
    rest = lines.pop()!;
    for (const line of lines) {
      if (!line.startsWith("data:")) continue;
      const data = line.slice("data:".length).trim();
      if (data === "[DONE]") return;
      yield parsed(data);
    }
  }
}

/** What is awaited of the server; that it cannot be reached may be over at the next attempt. */
async function connected<T>(run: Run, awaited: Promise<T>): Promise<T> {
  try {
    return await awaited;
  } catch (error: any) {
    if (run.cancelled) throw error;
    const reason = error?.cause?.code ?? error?.cause?.message ?? error?.message;
    throw new Failure(`The connection to the model's server failed: ${reason}.`, { retryable: true, cause: error });
  }
}

function parsed(data: string): any {
  try {
    return JSON.parse(data);
  } catch {
    throw new Failure("The model's server sent what is no JSON.", { retryable: true });
  }
}

function reasonIn(text: string): string {
  try {
    return messageOf(JSON.parse(text));
  } catch {
    return text.slice(0, 200).trim() || "nothing";
  }
}

function messageOf({ error }: any): string {
  return String(error?.message ?? error).replace(/\.$/, "");
}
