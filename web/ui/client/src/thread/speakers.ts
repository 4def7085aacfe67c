/** Who speaks, where a state has messages of several. */
import type { Message } from '../api/types';

/**
 * For each message who is to be named above it, undefined where that is known: from the message before, or for the first
 * ones from what is above all of them, which names `own`. Null stands for `own`.
 */
export function speakers(messages: readonly Pick<Message, 'role' | 'author'>[], own: string | null): (string | null | undefined)[] {
  let last: string | null = null;
  return messages.map(({ role, author }) => {
    // What a user has sent to a run that is under way stands out by itself.
    if (role === 'user' && !author) return undefined;
    const speaker = author && author !== own ? author : null;
    const isKnown = speaker === last;
    last = speaker;
    return isKnown ? undefined : speaker;
  });
}
