import type { Message } from '@branchline/client/api/types';

/** A message; if it is a function call, with the message that has its result. */
export interface Part {
  message: Message;
  result?: Message;
}

/** Attach the results of function calls to their calls. */
export function groupParts(messages: readonly Message[]): Part[] {
  const parts: Part[] = [];
  const calls = new Map<unknown, Part>();
  for (const message of messages) {
    const id = message.type === 'function' ? message.data['call_id'] : undefined;
    const call = message.role === 'tool' ? calls.get(id) : undefined;
    if (call && !call.result) {
      call.result = message;
      continue;
    }
    const part = { message };
    parts.push(part);
    if (id !== undefined) calls.set(id, part);
  }
  return parts;
}

/** A text in the data of a message; undefined if there is none. */
export function textField(message: Message, name: string): string | undefined {
  const value = message.data[name];
  return typeof value === 'string' && value ? value : undefined;
}
