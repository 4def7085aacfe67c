/** Who is signed in, what the lists show, and the streams that keep them up to date. */
import { QueryClient, useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { create } from 'zustand';
import { api } from './api/calls';
import { Problem } from './api/client';
import { type RunStatus, UNDER_WAY, type User } from './api/types';
import type { Link } from './live/streams';
import { Switchboard } from './live/switchboard';
import type { Hint } from './thread/events';
import { useWatched } from './thread/store';

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

let soon: ReturnType<typeof setTimeout> | undefined;

/** Read the lists again, once for all that changes at about the same time. */
export function listsChanged(): void {
  soon ??= setTimeout(() => {
    soon = undefined;
    void queries.invalidateQueries({ queryKey: ['threads'] });
  }, 250);
}

function takeHint(hint: Hint): void {
  if (hint.type === 'reload') {
    void readActive();
    void queries.invalidateQueries();
  } else if (hint.type === 'run.changed' && hint.thread_id && hint.run_id && hint.status) {
    const news = ranOn(hint.thread_id, hint.run_id, hint.status);
    if (hint.status === 'queued' || news) listsChanged();
  } else listsChanged();
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
  const elsewhere = ended && useWatched.getState().data.threadId !== thread;
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

export function useThreads(query: string, status: 'active' | 'archived') {
  return useInfiniteQuery({
    queryKey: ['threads', status, query],
    queryFn: ({ pageParam }) => api.threads({ query, status, cursor: pageParam, limit: 50 }),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next,
    placeholderData: (before) => before,
  });
}

export function useWorkers() {
  return useQuery({ queryKey: ['workers'], queryFn: api.workers, refetchInterval: 30_000 });
}
