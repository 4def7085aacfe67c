/** The messages that wait for a run, as they were read from the server. */
import { api } from '@branchline/client/api/calls';
import { ACTIVE_STATUSES, type QueuedMessage, type Run } from '@branchline/client/api/types';
import { useQuery } from '@tanstack/react-query';
import { useMemo } from 'react';
import { queryClient } from './queryClient';
import { useThread } from './thread';

const NONE: readonly QueuedMessage[] = [];

const keyOf = (run: string) => ['queued', run];

/** The messages that wait for a run. What its worker has read is in its output state, under the same id. */
export function useQueued(run: Run | null): readonly QueuedMessage[] {
  const known = run ? queryClient.getQueryData(keyOf(run.id)) !== undefined : false;
  const { data = NONE } = useQuery({
    queryKey: keyOf(run?.id ?? ''),
    queryFn: () => api.queuedMessages(run?.id ?? ''),
    enabled: !!run && (known || run.steered || ACTIVE_STATUSES.has(run.status)),
  });
  const read = useThread((state) => (run ? state.data.messages.get(run.output_state_id) : undefined));
  return useMemo(() => {
    const ids = new Set(read?.map((message) => message.id));
    return data.filter((message) => !ids.has(message.id));
  }, [data, read]);
}

export function addQueued(run: string, added: readonly QueuedMessage[]): void {
  queryClient.setQueryData<readonly QueuedMessage[]>(keyOf(run), (known = NONE) => [...known, ...added]);
}

export function dropQueued({ run_id, id }: QueuedMessage): void {
  queryClient.setQueryData<readonly QueuedMessage[]>(keyOf(run_id), (known = NONE) => known.filter((message) => message.id !== id));
}

/** Read them again: something has happened to the run or to its messages. */
export function queuedChanged(run: string): void {
  void queryClient.invalidateQueries({ queryKey: keyOf(run) });
}
