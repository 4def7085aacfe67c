/** The workers that a run has called, as far as they are shown. */
import { api } from '@branchline/client/api/calls';
import type { Run } from '@branchline/client/api/types';
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { Pauses } from './pauses';
import { queryClient } from './queryClient';

export const SUB_RUN_STATUS: Record<Run['status'], string> = {
  queued: 'about to start',
  running: 'working …',
  waiting: 'has a question',
  success: 'done',
  error: 'failed',
  timeout: 'timed out',
  cancelled: 'cancelled',
};

/**
 * The sub-runs of a run, newest first, while they are `shown`. While it is active they are read again when a hint says
 * that a run has changed (`subRunChanged`), and now and then for what no hint tells.
 */
export function useSubRuns(runId: string, status: Run['status'] | undefined, { shown, isActive }: { shown: boolean; isActive: boolean }): Run[] | undefined {
  const [pauses] = useState(() => new Pauses());
  const { data } = useQuery({
    queryKey: ['children', runId, status],
    queryFn: () => api.runChildren(runId),
    enabled: shown,
    refetchInterval: ({ state }) => isActive && pauses.after(state),
    placeholderData: keepPreviousData,
  });
  return data;
}

/** A run has begun, asks something or has ended; it may be one that an open card shows, or a new one below it. */
export function subRunChanged(runId: string): void {
  for (const queryKey of [['children'], ['sub-run', runId]]) {
    // What is on its way is not asked for again: many may change at once.
    void queryClient.invalidateQueries({ queryKey }, { cancelRefetch: false });
  }
}
