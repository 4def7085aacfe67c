import type { Run } from '@branchline/client/api/types';
import { cancelRun } from '@branchline/client/thread/actions';
import type { Node } from '@branchline/client/thread/state';
import { dispatch } from '@branchline/client/thread/store';
import { Clock } from 'lucide-react';
import { useEffect, useState } from 'react';
import { Button } from '../ui/Button';
import { notifyError } from '../ui/notifications';
import { Question } from './Question';
import { queueText } from './queueText';
import { RunFailure } from './RunFailure';
import { LogDialog } from './RunLog';
import { useStepCount } from './Steps';
import { useWaitingRun } from './useWaitingRun';

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
  const { data: run, dataUpdatedAt } = useWaitingRun(runId);
  useEffect(() => {
    if (run && run.status !== 'queued') dispatch({ type: 'run', run });
  }, [run]);
  const [isLogOpen, setIsLogOpen] = useState(false);
  const queue = run?.queue;
  const now = useNow(queue?.reason === 'backoff');
  return (
    <p className="run-status">
      <Clock aria-hidden="true" />
      <span>
        {run?.last_failure && <span className="failure">The attempt failed: <bdi>{run.last_failure.message}</bdi></span>}
        {run && queue ? queueText(run, queue, Math.max(0, now - dataUpdatedAt) / 1000) : 'Queued'}
      </span>
      <span>
        {run && run.failures > 0 && <Button look="quiet" onClick={() => setIsLogOpen(true)}>Log</Button>}
        <Button look="quiet" onClick={() => void cancelRun({ id: runId }).catch(notifyError)}>Cancel</Button>
      </span>
      {run && isLogOpen && <LogDialog run={run} onClose={() => setIsLogOpen(false)} />}
    </p>
  );
}

/** The time of this machine, each second while it is `wanted`. */
function useNow(wanted: boolean): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    if (!wanted) return;
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, [wanted]);
  return now;
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
