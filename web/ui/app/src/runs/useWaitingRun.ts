import { api } from '@branchline/client/api/calls';
import { useQuery } from '@tanstack/react-query';

/** Milliseconds after which the place of a run in the queue is read again. */
const READ_AGAIN = 2500;

/** A run that waits, with its place in the queue; nothing is read where `isWaiting` is false. */
export function useWaitingRun(runId: string, isWaiting = true) {
  return useQuery({ queryKey: ['queue', runId], queryFn: () => api.run(runId), enabled: isWaiting, refetchInterval: READ_AGAIN });
}
