/** Where one is in a thread: every state has an address. */
import { useMemo } from 'react';
import { useParams } from 'wouter';
import { navigate } from 'wouter/use-browser-location';

export type View = 'chat' | 'map' | 'compare';

export interface Where {
  view: View;
  /** In the chat and the map the end of the way; in a comparison the state whose answers are compared. */
  state: string | null;
}

const LETTER: Record<View, string> = { chat: 's', map: 'map', compare: 'compare' };

export function address(thread: string, state: string | null, view: View = 'chat'): string {
  if (!state) return `/t/${thread}`;
  return `/t/${thread}/${LETTER[view]}/${state}`;
}

export function useWhere(): Where {
  const rest = (useParams() as { '*'?: string })['*'] ?? '';
  return useMemo(() => {
    const [letter, state = null] = rest.split('/');
    const view = (Object.keys(LETTER) as View[]).find((one) => LETTER[one] === letter) ?? 'chat';
    return { view, state };
  }, [rest]);
}

export { navigate };
