/** The workers that the server knows. */
import { api } from '@branchline/client/api/calls';
import type { Worker } from '@branchline/client/api/types';
import { useQuery } from '@tanstack/react-query';
import { useCallback } from 'react';
import { queryClient } from './queryClient';

const KEY = ['workers'];

export function useWorkers() {
  return useQuery({ queryKey: KEY, queryFn: api.workers, refetchInterval: 30_000 });
}

/** The name of a worker; its id if it is not known. */
export function workerName(id: string): string {
  return nameIn(queryClient.getQueryData<Worker[]>(KEY), id);
}

/** The same function for a component, which is another one once the workers are known. */
export function useWorkerName(): typeof workerName {
  const workers = useWorkers().data;
  return useCallback((id) => nameIn(workers, id), [workers]);
}

function nameIn(workers: readonly Worker[] | undefined, id: string): string {
  return workers?.find((worker) => worker.id === id)?.name ?? id;
}
