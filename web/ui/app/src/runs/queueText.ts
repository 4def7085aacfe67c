import type { Run, RunWithQueue } from '@branchline/client/api/types';

/**
 * Why a queued run has not started, and until when it waits if that is known.
 * `waited` is how many seconds ago the server said so.
 */
export function queueText(run: Pick<Run, 'failures' | 'max_attempts'>, queue: NonNullable<RunWithQueue['queue']>, waited = 0): string {
  if (queue.reason === 'backoff') {
    const left = Math.ceil((queue.retry_after ?? 0) - waited);
    const when = left <= 0 ? 'now' : left < 100 ? `in ${left} s` : `in ${Math.ceil(left / 60)} min`;
    return `Trying again ${when} (${run.failures + 1} of ${run.max_attempts}).`;
  }
  if (!queue.pool_seen) return `Queued: no process of the pool “${queue.pool}” is running. The run starts as soon as one is.`;
  return queue.position > 1 ? `Queued: position ${queue.position}` : 'Queued';
}
