/** The thread that is being watched: what is known of it, which branch is shown, and how current it is. */
import { createStore } from 'zustand/vanilla';
import { STORAGE_PREFIX } from '../api/basePath';
import { api } from '../api/calls';
import type { Accepted, Thread } from '../api/types';
import { type Action, reduce } from './reducer';
import { emptyThread, type ThreadState } from './state';
import { type BranchChoices, pathTo } from './tree';

/** How current what is shown is. "reloaded" is shown for a moment after the thread had to be read anew. */
export type SyncStatus = 'loading' | 'live' | 'catching up' | 'reloaded' | 'offline';

export interface ThreadView {
  data: ThreadState;
  /** The last state of the branch that is shown; null until it is known. */
  head: string | null;
  syncStatus: SyncStatus;
  /** Why the thread could not be read yet. */
  error: string | null;
  notFound: boolean;
  choices: BranchChoices;
}

export const threadStore = createStore<ThreadView>(() => ({
  data: emptyThread(''),
  head: null,
  syncStatus: 'loading',
  error: null,
  notFound: false,
  choices: {},
}));

const { getState: get, setState: set } = threadStore;

export function dispatch(...actions: Action[]): void {
  const before = get().data;
  const data = actions.reduce(reduce, before);
  if (data !== before) set({ data });
}

/** Apply what the server has accepted, before the log reports it. */
export function applyAccepted(threadId: string, accepted: Accepted): void {
  if (get().data.threadId === threadId) dispatch({ type: 'accepted', accepted });
}

export function applyThread(thread: Thread): void {
  if (get().data.threadId === thread.id) dispatch({ type: 'thread', thread });
}

/** Load older messages than those that are shown, or the path to a head that was not loaded. */
export async function loadHistory(from: string, cursor?: string | null): Promise<void> {
  const { threadId } = get().data;
  const history = await api.history(from, cursor);
  if (get().data.threadId === threadId) dispatch({ type: 'history', history });
}

// ── the branch that is shown ────────────────────────────────────────────────

const choicesKey = (thread: string) => `${STORAGE_PREFIX}choices.${thread}`;
const headKey = (thread: string) => `${STORAGE_PREFIX}head.${thread}`;

export function storedChoices(thread: string): BranchChoices {
  try {
    return JSON.parse(localStorage.getItem(choicesKey(thread)) ?? '{}') as BranchChoices;
  } catch {
    return {};
  }
}

export function storedHead(thread: string): string | null {
  return localStorage.getItem(headKey(thread));
}

/** Show the branch that ends in `head`, and choose it at each fork on its path. */
export function showBranch(head: string): void {
  const { data, choices } = get();
  const path = pathTo(data.nodes, head);
  const chosen: Record<string, string> = { ...choices };
  path.forEach((id, index) => {
    const parent = path[index - 1];
    if (parent && (data.children.get(parent)?.length ?? 0) > 1) chosen[parent] = id;
  });
  if (head !== get().head || JSON.stringify(chosen) !== JSON.stringify(choices)) set({ head, choices: chosen });
  try {
    localStorage.setItem(choicesKey(data.threadId), JSON.stringify(chosen));
    localStorage.setItem(headKey(data.threadId), head);
  } catch {
    // Storage is full or forbidden: then choices last as long as the page.
  }
}
