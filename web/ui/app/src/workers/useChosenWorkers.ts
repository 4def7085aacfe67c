import { useMemo } from 'react';
import { usePreferences } from '../stores/preferences';
import { useThread } from '../stores/thread';
import { useWorkers } from '../stores/workers';

/** The workers to ask: those chosen in this thread, else the one that answered last on this branch, else those asked last. */
export function useChosenWorkers(threadId: string | null, from: string | null): string[] {
  const workers = useWorkers().data;
  const own = useThread(({ data }) => {
    if (!threadId || data.threadId !== threadId) return null;
    for (let id: string | null | undefined = from; id; id = data.nodes.get(id)?.parentId) {
      const worker = data.nodes.get(id)?.workerId;
      if (worker) return worker;
    }
    return data.thread?.worker_id;
  });
  const ofThread = usePreferences((state) => (threadId ? state.workersOf[threadId] : undefined));
  const last = usePreferences((state) => state.workers);
  return useMemo(() => {
    const available = (workers ?? []).filter((worker) => worker.available).map((worker) => worker.id);
    for (const wish of [ofThread ?? [], own ? [own] : [], threadId ? [] : last]) {
      const found = wish.filter((id) => available.includes(id));
      if (found.length) return found;
    }
    return available.slice(0, 1);
  }, [workers, own, ofThread, last, threadId]);
}
