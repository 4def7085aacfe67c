/** With which configuration a worker is asked: the thread's, else the one that this browser keeps for new threads. */
import type { Config } from '@branchline/client/api/types';
import { configIn } from '@branchline/client/thread/configs';
import { threadStore } from '@branchline/client/thread/store';
import { useMemo } from 'react';
import { usePreferences } from '../stores/preferences';
import { useThread } from '../stores/thread';

type Configs = Record<string, Config>;

/** The configurations of the workers now; `threadId` is null for a new thread. */
export function configsOf(threadId: string | null, workers: readonly string[]): Configs {
  const { data } = threadStore.getState();
  const forNew = usePreferences.getState().configs;
  const ofThread = (worker: string) => (data.threadId === threadId ? configIn(data, worker) : undefined);
  return Object.fromEntries(workers.map((worker) => [worker, ofThread(worker) ?? forNew[worker] ?? {}]));
}

/** The same for a component, which is rendered again when they change. */
export function useConfigs(threadId: string | null, workers: readonly string[]): Configs {
  const thread = useThread((state) => state.data.thread);
  const runs = useThread((state) => state.data.runs);
  const forNew = usePreferences((state) => state.configs);
  return useMemo(() => configsOf(threadId, workers), [threadId, workers, thread, runs, forNew]);
}
