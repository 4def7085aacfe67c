// The tools of the agent, and how a call of one is executed.
import { Failure, type Run } from "branchline";

import { calculate } from "./calculator.ts";
import type { Call } from "./chat.ts";

interface Tool {
  description: string;
  properties: Record<string, object>;
  /** `place`: of the call in the run, for a model may give two calls one id. */
  execute(run: Run, place: string, given: Record<string, any>): Promise<string> | string;
}

const BY_NAME: Record<string, Tool> = {
  calculate: {
    description: "Calculates an arithmetic expression of numbers, + - * / % ** and parentheses.",
    properties: { expression: { type: "string" } },
    execute: (_, __, { expression }) => String(calculate(String(expression))),
  },
  now: {
    description: "The date and the time, in UTC.",
    properties: {},
    execute: (run, place) => run.once(`now ${place}`, () => new Date().toISOString()),
  },
  keep_note: {
    description: "Keeps a note for the rest of the conversation. The user is asked whether it may.",
    properties: { note: { type: "string" } },
    execute: async (run, place, { note }) => {
      const answer = await run.confirm(`Keep this note? ${note}`, { options: ["yes", "no"], id: `note ${place}` });
      if (answer !== "yes") return "The user does not want that.";
      run.state.notes = [...(run.state.notes ?? []), String(note)];
      return "It is kept.";
    },
  },
  notes: {
    description: "The notes that were kept in this conversation.",
    properties: {},
    execute: (run) => JSON.stringify(run.state.notes ?? []),
  },
};

/** The tools as the API takes them. */
export const TOOLS = Object.entries(BY_NAME).map(([name, { description, properties }]) => ({
  type: "function",
  function: {
    name,
    description,
    parameters: { type: "object", properties, required: Object.keys(properties), additionalProperties: false },
  },
}));

/**
 * Execute a call, which the conversation shows. What fails is the result, and the model may try again.
 *
 * `place`: of the call in the run, such as `2.1` for the first one of the second turn.
 */
export async function execute(run: Run, place: string, call: Call): Promise<string> {
  const { name, arguments: text } = call.function;
  try {
    return await run.tool(name, text, () => found(name).execute(run, place, argumentsIn(text)), { id: call.id });
  } catch (error: any) {
    if (error instanceof Failure) return `Error: ${error.message}`;
    throw error;
  }
}

function found(name: string): Tool {
  const tool = Object.hasOwn(BY_NAME, name) ? BY_NAME[name] : undefined;
  if (!tool) throw new Failure(`There is no tool ${name}.`);
  return tool;
}

function argumentsIn(text: string): Record<string, any> {
  try {
    return JSON.parse(text || "{}") ?? {};
  } catch {
    throw new Failure("The arguments are no JSON.");
  }
}
