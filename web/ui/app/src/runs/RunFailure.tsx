import type { Run } from '@branchline/client/api/types';
import { loadRun } from '@branchline/client/thread/actions';
import type { Node } from '@branchline/client/thread/state';
import { useQuery } from '@tanstack/react-query';
import { CircleSlash, RefreshCw, TriangleAlert } from 'lucide-react';
import { useState } from 'react';
import { openBranch } from '../navigation/openBranch';
import { useThread } from '../stores/thread';
import { Button } from '../ui/Button';
import { notifyError } from '../ui/notifications';
import { askAgain } from './askAgain';
import { LogDialog } from './RunLog';

/** What each error code means. */
const MEANING: Record<string, string> = {
  worker_error: 'The worker reported an error.',
  worker_crashed: 'The worker crashed.',
  output_too_large: 'The output is too large.',
  start_failed: 'The worker could not be started.',
  timeout: 'The run timed out.',
  lost: 'The run was interrupted.',
  config_invalid: 'The worker has changed, and this configuration does not fit it any more.',
  internal_error: 'The run failed because of an error in Branchline.',
};

/** Why a run failed or was stopped, its log, and a way to try again. */
export function RunFailure({ node, run: known, status }: { node: Node; run: Run | undefined; status: 'error' | 'timeout' | 'cancelled' }) {
  const { data: fetched } = useQuery({
    queryKey: ['run', node.runId],
    queryFn: () => loadRun(node.id),
    enabled: !known && !!node.runId,
    staleTime: Infinity,
  });
  const run = known ?? fetched;
  const [isLogOpen, setIsLogOpen] = useState(false);
  const threadId = useThread((state) => state.data.threadId);
  const retry = async () => {
    try {
      const [first = ''] = (await askAgain(node.id)).outputIds;
      openBranch(threadId, first, { at: first, instead: node.id });
    } catch (error) {
      notifyError(error);
    }
  };
  const stopped = status === 'cancelled';
  const text = stopped ? 'Stopped. The text written so far is kept.' : (MEANING[status === 'timeout' ? 'timeout' : (run?.error?.code ?? '')] ?? 'The run failed.');
  const detail = !stopped && run?.error?.message;
  return (
    <section className={stopped ? 'run-error run-error-stopped' : 'run-error'} role={stopped ? undefined : 'alert'}>
      {stopped ? <CircleSlash aria-hidden="true" /> : <TriangleAlert aria-hidden="true" />}
      <div>
        <p>{text}</p>
        {detail && <p className="detail" dir="auto">{detail}</p>}
      </div>
      <div className="run-error-actions">
        {!stopped && <Button look="quiet" onClick={() => setIsLogOpen(true)}>Log</Button>}
        <Button icon={RefreshCw} onClick={() => void retry()}>Try again</Button>
      </div>
      {isLogOpen && run && <LogDialog run={run} onClose={() => setIsLogOpen(false)} />}
    </section>
  );
}
