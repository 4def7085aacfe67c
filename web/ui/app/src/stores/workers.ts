/** The workers that the server knows. */
import { api } from '@branchline/client/api/calls';
import type { Worker } from '@branchline/client/api/types';
import { useQuery } from '@tanstack/react-query';
import { queryClient } from './queryClient';

const KEY = ['workers'];

export function useWorkers() {
  return useQuery({ queryKey: KEY, queryFn: api.workers, refetchInterval: 30_000 });
}

/** The name of a worker; its id if it is not known. */
export function workerName(id: string): string {
  return queryClient.getQueryData<Worker[]>(KEY)?.find((worker) => worker.id === id)?.name ?? id;
}
