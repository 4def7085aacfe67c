import { api } from '@branchline/client/api/calls';
import type { Run } from '@branchline/client/api/types';
import { cancelRun } from '@branchline/client/thread/actions';
import type { Node } from '@branchline/client/thread/state';
import { dispatch } from '@branchline/client/thread/store';
import { useQuery } from '@tanstack/react-query';
import { Clock } from 'lucide-react';
import { useEffect } from 'react';
import { Button } from '../ui/Button';
import { notifyError } from '../ui/notifications';
import { Question } from './Question';
import { RunFailure } from './RunFailure';
import { useStepCount } from './Steps';

/** The status of a run that has no text to show for it: queued, working, waiting for input, failed. */
export function RunStatus({ node, run, isEmpty }: { node: Node; run: Run | undefined; isEmpty: boolean }) {
  const status = run?.status ?? node.runStatus;
  if (status === 'queued' && node.runId) return <Queued runId={node.runId} />;
  if (status === 'running') return <Running run={run} isEmpty={isEmpty} />;
  if (status === 'waiting' && run) return <Question run={run} />;
  if (status === 'error' || status === 'timeout' || status === 'cancelled') return <RunFailure node={node} run={run} status={status} />;
  if (status === 'success' && isEmpty && run) return <p className="quiet">No output</p>;
  return null;
}

function Queued({ runId }: { runId: string }) {
  const { data: run } = useQuery({ queryKey: ['queue', runId], queryFn: () => api.run(runId), refetchInterval: 2500 });
  useEffect(() => {
    if (run && run.status !== 'queued') dispatch({ type: 'run', run });
  }, [run]);
  const queue = run?.queue;
  return (
    <p className="run-status">
      <Clock aria-hidden="true" />
      <span>{queue ? queueText(queue) : 'Queued'}</span>
      <Button look="quiet" onClick={() => void cancelRun({ id: runId }).catch(notifyError)}>Cancel</Button>
    </p>
  );
}

function queueText(queue: { position: number; pool_seen: boolean; pool: string; reason: string }): string {
  if (!queue.pool_seen) return `Queued: no process of the pool “${queue.pool}” is running. The run starts as soon as one is.`;
  return queue.position > 1 ? `Queued: position ${queue.position}` : 'Queued';
}

function Running({ run, isEmpty }: { run: Run | undefined; isEmpty: boolean }) {
  const steps = useStepCount(run);
  if (steps > 0 || !isEmpty) return null;
  return (
    <p className="run-status">
      <span className="dots" aria-hidden="true"><i /><i /><i /></span>
      <span>Working …</span>
    </p>
  );
}
