/** Where one is in a thread: every state has an address. */
import { useMemo } from 'react';
import { useLocation, useParams } from 'wouter';
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

/** Where to look once the way has changed: at one of its states, or at the very end. */
type Look = { at: string; top: number | null } | 'end' | null;

let look: Look = null;

export function takeLook(): Look {
  const taken = look;
  look = null;
  return taken;
}

export function lookAt(next: Look): void {
  look = next;
}

export function turnElement(state: string): HTMLElement | null {
  return document.querySelector(`[data-state="${state}"]`);
}

/** Show the way to `head`. `keep`: the state that comes to stand where `instead` of it stands now. */
export function go(thread: string, head: string, options: { at?: string; instead?: string; end?: boolean; replace?: boolean } = {}): void {
  const { at, instead, end, replace = false } = options;
  if (end) look = 'end';
  else if (at) look = { at, top: instead ? (turnElement(instead)?.getBoundingClientRect().top ?? null) : null };
  navigate(address(thread, head), { replace });
}

export { navigate, useLocation };
