/** Showing another branch of a thread, and where the chat is to scroll when it appears. */
import type { ListedThread } from '@branchline/client/api/types';
import { create } from 'zustand';
import { markedWords } from '../ui/marks';
import { navigate, threadPath } from './routes';

export interface ScrollTarget {
  /** The branch to which it belongs. */
  head: string;
  /** The state that is to be shown; null for the end of the chat. */
  state: string | null;
  /** Where its top edge is to be (pixels of the window); null for near the upper end. */
  top: number | null;
  /** The words in it to mark, and to scroll to the first of. */
  words: readonly string[];
}

/** Where the chat is to scroll; it does once the state is rendered, which may have to be loaded first. */
export const useScrollTarget = create<{ target: ScrollTarget | null }>(() => ({ target: null }));

export function setScrollTarget(target: ScrollTarget | null): void {
  useScrollTarget.setState({ target });
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
  if (end) setScrollTarget({ head, state: null, top: null, words: [] });
  else if (at) setScrollTarget({ head, state: at, top: instead ? (turnElement(instead)?.getBoundingClientRect().top ?? null) : null, words: [] });
  navigate(threadPath(thread, head));
}

/** The address of a thread in a list: the state in which a search found it, if one did. */
export function listedPath({ id, hit }: ListedThread): string {
  return threadPath(id, hit?.state_id ?? null);
}

/** When a thread of a list is opened: have the chat scroll to where a search found it, and mark the words. */
export function scrollToHit({ hit }: ListedThread): void {
  if (!hit?.state_id) return;
  setScrollTarget({ head: hit.state_id, state: hit.state_id, top: null, words: markedWords([{ text: hit.snippet ?? '', marks: hit.marks }]) });
}
