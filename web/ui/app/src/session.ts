/** Who is signed in, what the lists show, and the streams that keep them up to date. */
import { api } from '@branchline/client/api/calls';
import { Problem } from '@branchline/client/api/client';
import { type RunStatus, type Thread, UNDER_WAY, type User, type Worker } from '@branchline/client/api/types';
import type { Hint } from '@branchline/client/live/events';
import type { Link } from '@branchline/client/live/streams';
import { Switchboard } from '@branchline/client/live/switchboard';
import { threadStore } from '@branchline/client/thread/store';
import { QueryClient, useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { create } from 'zustand';
import { placed, renewed, type ThreadList, without } from './threads/lists';
import { rememberFor } from './ui/preferences';

export const queries = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 30_000,
      refetchOnWindowFocus: false,
      retry: (count, error) => count < 4 && error instanceof Problem && error.passing,
    },
    mutations: { networkMode: 'always' },
  },
});

interface Session {
  /** undefined: not known yet. */
  user: User | null | undefined;
  board: Switchboard | null;
  link: Link;
  /** Threads with runs under way: run → status. */
  active: ReadonlyMap<string, ReadonlyMap<string, RunStatus>>;
  /** Threads in which something ended while another was shown. */
  news: ReadonlySet<string>;
}

export const useSession = create<Session>(() => ({
  user: undefined,
  board: null,
  link: 'connecting',
  active: new Map(),
  news: new Set(),
}));

export function signedIn(user: User): void {
  useSession.getState().board?.close();
  rememberFor(user.id);
  const board = new Switchboard(user.id, takeHint, (link) => useSession.setState({ link }));
  useSession.setState({ user, board });
  void readActive();
}

export function signedOut(): void {
  useSession.getState().board?.close();
  useSession.setState({ user: null, board: null, active: new Map(), news: new Set() });
  queries.clear();
}

export async function findOut(): Promise<void> {
  try {
    signedIn(await api.me());
  } catch (error) {
    if (error instanceof Problem && error.status === 401) useSession.setState({ user: null });
    else setTimeout(() => void findOut(), 1500);
  }
}

/** What has happened to a thread: it is to be asked for, is gone, or is perhaps one that no list here has. */
type Change = 'changed' | 'gone' | 'ran';

const changes = new Map<string, Change>();
let soon: ReturnType<typeof setTimeout> | undefined;

/** Milliseconds within which changes are shown together. */
const TOGETHER = 150;

/** Show in the lists what has become of a thread. It alone is asked for: a list may have been read far down. */
export function listsChanged(thread: string, change: Change = 'changed'): void {
  if (change !== 'ran' || !changes.has(thread)) changes.set(thread, change);
  soon ??= setTimeout(() => {
    soon = undefined;
    const all = [...changes];
    changes.clear();
    for (const [id, what] of all) void showInLists(id, what);
  }, TOGETHER);
}

async function showInLists(id: string, change: Change): Promise<void> {
  try {
    if (change === 'gone') show(id);
    else if (change === 'changed' || isListed(id)) show(id, [await api.thread(id)]);
    // Where something was run just now, it is among those that were updated last.
    else show(id, (await api.threads({ limit: FIRST_PAGE })).items);
  } catch (error) {
    if (error instanceof Problem && error.status === 404) show(id);
    else void queries.invalidateQueries({ queryKey: ['threads'] });
  }
}

function lists() {
  return queries.getQueryCache().findAll({ queryKey: ['threads'] });
}

function isListed(id: string): boolean {
  return lists().some(({ state }) => (state.data as ThreadList | undefined)?.pages.some((page) => page.items.some((one) => one.id === id)));
}

/** Put these threads where they belong; the thread `id` is gone if it is none of them. */
function show(id: string, threads: readonly Thread[] = []): void {
  for (const { queryKey, state } of lists()) {
    const [, status, query] = queryKey as ThreadsKey;
    queries.setQueryData<ThreadList>(queryKey, (list) => {
      const here = threads.filter((thread) => thread.status === status);
      const rest = list && !here.some((thread) => thread.id === id) ? without(list, id) : list;
      return rest && here.reduce(query ? renewed : placed, rest);
    });
    // What it says now may be what is looked for; and what is being read may have been read before.
    if (query || state.fetchStatus === 'fetching') void queries.invalidateQueries({ queryKey });
  }
}

function takeHint(hint: Hint): void {
  if (hint.type === 'reload') {
    void readActive();
    void queries.invalidateQueries();
  } else if (hint.type === 'run.changed' && hint.thread_id && hint.run_id && hint.status) {
    const news = ranOn(hint.thread_id, hint.run_id, hint.status);
    if (hint.status === 'queued' || news) listsChanged(hint.thread_id, 'ran');
  } else if (hint.thread_id) listsChanged(hint.thread_id, hint.type === 'thread.deleted' ? 'gone' : 'changed');
}

function ranOn(thread: string, run: string, status: RunStatus): boolean {
  const { active, news } = useSession.getState();
  const next = new Map(active);
  const runs = new Map(next.get(thread));
  const ended = !UNDER_WAY.has(status);
  if (ended) runs.delete(run);
  else runs.set(run, status);
  if (runs.size) next.set(thread, runs);
  else next.delete(thread);
  const elsewhere = ended && threadStore.getState().data.threadId !== thread;
  useSession.setState({ active: next, news: elsewhere ? new Set(news).add(thread) : news });
  return ended;
}

export function seen(thread: string): void {
  const { news } = useSession.getState();
  if (!news.has(thread)) return;
  const rest = new Set(news);
  rest.delete(thread);
  useSession.setState({ news: rest });
}

async function readActive(): Promise<void> {
  const lists = await Promise.all([...UNDER_WAY].map((status) => api.runs({ status, limit: 100 }))).catch(() => []);
  const active = new Map<string, Map<string, RunStatus>>();
  for (const run of lists.flatMap((page) => page.items)) {
    active.set(run.thread_id, (active.get(run.thread_id) ?? new Map<string, RunStatus>()).set(run.id, run.status));
  }
  useSession.setState({ active });
}

type ThreadsKey = ['threads', status: 'active' | 'archived', query: string];

const FIRST_PAGE = 50;
const LATER_PAGES = 500;

/** The threads, which hints keep up to date. */
export function useThreads(query: string, status: 'active' | 'archived') {
  return useInfiniteQuery({
    queryKey: ['threads', status, query] satisfies ThreadsKey,
    queryFn: ({ pageParam, signal }) => api.threads({ query, status, cursor: pageParam, limit: pageParam ? LATER_PAGES : FIRST_PAGE }, signal),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next,
    placeholderData: (before) => before,
    staleTime: Infinity,
  });
}

export function useWorkers() {
  return useQuery({ queryKey: ['workers'], queryFn: api.workers, refetchInterval: 30_000 });
}

/** What a worker is called, as far as is known. */
export function workerName(id: string): string {
  return queries.getQueryData<Worker[]>(['workers'])?.find((worker) => worker.id === id)?.name ?? id;
}
