// What servers of the Model Context Protocol ask while a tool of theirs is called (elicitation).
//
// It is asked of the run's user, so this process ends. With the answer the worker starts again from
// its beginning, calls the tool a second time, and the server asks again and is answered.
import { digestOf } from "./steps.js";

/** What a client says that it can do, to be asked. */
export const CAPABILITIES = { elicitation: { form: {}, url: {} } };
/** The option, and the name in an answer, by which the user does not give what the server asks for. */
const DECLINE = "decline";

/** Those of all servers that are opened together. */
export class Questions {
  #ask;
  #reached;
  #stop;
  /** Rejected when this process is to end, for the user is asked. */
  #asked = new Promise((_, reject) => (this.#stop = reject));

  /** `ask` asks the user, by an id for the run. `reached`: the ids of answered questions, as the run comes by them. */
  constructor(ask, reached) {
    this.#ask = ask;
    this.#reached = reached;
    this.#asked.catch(() => {}); // maybe no call is under way
  }

  /** What a request gives. Rejects with Suspended where the user is asked meanwhile. */
  untilAsked(request) {
    return Promise.race([request, this.#asked]);
  }

  /** What a server is answered. */
  async answer(server, params) {
    const question = questionOf(params);
    let answer;
    try {
      answer = this.#ask(this.#idOf(server, question), question);
    } catch (error) {
      this.#stop(error);
      return new Promise(() => {}); // until its server is ended
    }
    if (isDeclined(answer)) return { action: "decline" };
    return { action: "accept", content: isObject(answer) ? answer : undefined };
  }

  /** The same in each attempt, whatever else is asked at the same time: equal questions are numbered. */
  #idOf(server, { prompt, schema }) {
    const what = `mcp ${server.slice(0, 100)} ${digestOf([prompt, schema ?? null]).slice(0, 16)} `;
    return `${what}${1 + this.#reached.filter((id) => id.startsWith(what)).length}`;
  }
}

/** What a server wants to know, as a form; or whether the user has been at an address. */
function questionOf({ message, url, requestedSchema }) {
  if (!requestedSchema) return { prompt: `${message}\n\n${url}`, options: ["done", DECLINE] };
  return { prompt: message, options: [], schema: formOf(requestedSchema) };
}

/** The schema of an answer: what the server wants, or nothing. */
function formOf(schema) {
  const decline = {
    title: "Decline",
    type: "object",
    properties: { [DECLINE]: { const: true, title: "Decline" } },
    required: [DECLINE],
    additionalProperties: false,
  };
  return { anyOf: [{ title: "Answer", ...schema }, decline] };
}

function isDeclined(answer) {
  return answer === DECLINE || (isObject(answer) && Object.keys(answer).join() === DECLINE && answer[DECLINE] === true);
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
