/** The lists of threads that are shown, and how they follow what happens to a thread. */
import { api } from '@branchline/client/api/calls';
import { Problem } from '@branchline/client/api/request';
import type { Thread } from '@branchline/client/api/types';
import { useInfiniteQuery } from '@tanstack/react-query';
import { queryClient } from './queryClient';
import { insertThread, removeThread, replaceThread, type ThreadList } from './threadPages';

type ListStatus = 'active' | 'archived';
type ListKey = ['threads', status: ListStatus, query: string];

const FIRST_PAGE = 50;
const LATER_PAGES = 500;

/** The threads of a status that match a query, the last updated first. Hints keep them up to date. */
export function useThreads(query: string, status: ListStatus) {
  return useInfiniteQuery({
    queryKey: ['threads', status, query] satisfies ListKey,
    queryFn: ({ pageParam, signal }) => api.threads({ query, status, cursor: pageParam, limit: pageParam ? LATER_PAGES : FIRST_PAGE }, signal),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next,
    placeholderData: (before) => before,
    staleTime: Infinity,
  });
}

/** What happened to a thread: it was changed or deleted, or something ran in it. */
type Change = 'changed' | 'deleted' | 'ran';

/** Milliseconds within which changes are collected and shown together. */
const COLLECT = 150;

const pending = new Map<string, Change>();
let timer: ReturnType<typeof setTimeout> | undefined;

/**
 * Show a thread's change in the lists. The thread alone is asked for, and not the lists: somebody may
 * have scrolled through many pages of them.
 */
export function threadListChanged(thread: string, change: Change = 'changed'): void {
  if (change !== 'ran' || !pending.has(thread)) pending.set(thread, change);
  timer ??= setTimeout(() => {
    timer = undefined;
    const changes = [...pending];
    pending.clear();
    for (const [id, what] of changes) void applyChange(id, what);
  }, COLLECT);
}

async function applyChange(id: string, change: Change): Promise<void> {
  try {
    if (change === 'deleted') update(id);
    else if (change === 'changed' || isListed(id)) update(id, [await api.thread(id)]);
    // A thread in which something just ran is among those that were updated last.
    else update(id, (await api.threads({ limit: FIRST_PAGE })).items);
  } catch (error) {
    if (error instanceof Problem && error.status === 404) update(id);
    else void queryClient.invalidateQueries({ queryKey: ['threads'] });
  }
}

function lists() {
  return queryClient.getQueryCache().findAll({ queryKey: ['threads'] });
}

function isListed(id: string): boolean {
  return lists().some(({ state }) => (state.data as ThreadList | undefined)?.pages.some((page) => page.items.some((thread) => thread.id === id)));
}

/** Put these threads where they belong in each list; the thread `id` leaves the lists if it is none of them. */
function update(id: string, threads: readonly Thread[] = []): void {
  for (const { queryKey, state } of lists()) {
    const [, status, query] = queryKey as ListKey;
    queryClient.setQueryData<ThreadList>(queryKey, (list) => {
      const matching = threads.filter((thread) => thread.status === status);
      const rest = list && !matching.some((thread) => thread.id === id) ? removeThread(list, id) : list;
      return rest && matching.reduce(query ? replaceThread : insertThread, rest);
    });
    // The thread may match a search only now, and a page that is being fetched may be older than the change.
    if (query || state.fetchStatus === 'fetching') void queryClient.invalidateQueries({ queryKey });
  }
}
