/** Which threads have active runs, and in which something ended while another thread was shown. */
import { api } from '@branchline/client/api/calls';
import { ACTIVE_STATUSES, type RunStatus } from '@branchline/client/api/types';
import { threadStore } from '@branchline/client/thread/store';
import { create } from 'zustand';

interface Activity {
  /** Threads with active runs: the status of each run by its id. */
  active: ReadonlyMap<string, ReadonlyMap<string, RunStatus>>;
  unread: ReadonlySet<string>;
}

const NO_ACTIVITY: Activity = { active: new Map(), unread: new Set() };

export const useActivity = create<Activity>(() => NO_ACTIVITY);

/** Read all active runs from the server. */
export async function loadActivity(): Promise<void> {
  const pages = await Promise.all([...ACTIVE_STATUSES].map((status) => api.runs({ status, limit: 100 }))).catch(() => []);
  const active = new Map<string, Map<string, RunStatus>>();
  for (const run of pages.flatMap((page) => page.items)) {
    active.set(run.thread_id, (active.get(run.thread_id) ?? new Map<string, RunStatus>()).set(run.id, run.status));
  }
  useActivity.setState({ active });
}

/** Note the new status of a run; true if the run has ended. */
export function runChanged(thread: string, run: string, status: RunStatus): boolean {
  const { active, unread } = useActivity.getState();
  const next = new Map(active);
  const runs = new Map(next.get(thread));
  const ended = !ACTIVE_STATUSES.has(status);
  if (ended) runs.delete(run);
  else runs.set(run, status);
  if (runs.size) next.set(thread, runs);
  else next.delete(thread);
  const elsewhere = ended && threadStore.getState().data.threadId !== thread;
  useActivity.setState({ active: next, unread: elsewhere ? new Set(unread).add(thread) : unread });
  return ended;
}

export function markRead(thread: string): void {
  const { unread } = useActivity.getState();
  if (!unread.has(thread)) return;
  const rest = new Set(unread);
  rest.delete(thread);
  useActivity.setState({ unread: rest });
}

export function clearActivity(): void {
  useActivity.setState(NO_ACTIVITY);
}
