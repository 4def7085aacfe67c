import type { Message } from '@branchline/client/api/types';

/** A message, and with a function call what came of it. */
export interface Part {
  message: Message;
  result?: Message;
}

/** Put the results of functions to their calls. */
export function together(said: readonly Message[]): Part[] {
  const parts: Part[] = [];
  const calls = new Map<unknown, Part>();
  for (const message of said) {
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

/** A text in the data of a message; undefined if it is empty or no text. */
export function word(message: Message, name: string): string | undefined {
  const value = message.data[name];
  return typeof value === 'string' && value ? value : undefined;
}
