/** Showing another branch of a thread, and where the chat is to scroll when it appears. */
import { navigate } from 'wouter/use-browser-location';
import { threadPath } from './routes';

/** A state that is to be shown, with its top edge at `top` (pixels of the window) or near the upper end; or the end of the chat. */
type ScrollTarget = { state: string; top: number | null } | 'end' | null;

let target: ScrollTarget = null;

/** Where to scroll now that another branch is shown; each target is returned once. */
export function takeScrollTarget(): ScrollTarget {
  const taken = target;
  target = null;
  return taken;
}

export function turnElement(state: string): HTMLElement | null {
  return document.querySelector(`[data-state="${state}"]`);
}

/**
 * Show the branch that ends in `head`.
 *
 * `at` is the state to scroll to; with `instead` it takes the place in the window of that state, so that
 * going from sibling to sibling moves nothing. `end` scrolls to the end of the branch.
 */
export function openBranch(thread: string, head: string, { at, instead, end }: { at?: string; instead?: string; end?: boolean } = {}): void {
  if (end) target = 'end';
  else if (at) target = { state: at, top: instead ? (turnElement(instead)?.getBoundingClientRect().top ?? null) : null };
  navigate(threadPath(thread, head));
}
