import type { Run } from '@branchline/client/api/types';
import { loadRun, regenerate } from '@branchline/client/thread/actions';
import type { Node } from '@branchline/client/thread/state';
import { useQuery } from '@tanstack/react-query';
import { CircleSlash, RefreshCw, TriangleAlert } from 'lucide-react';
import { useState } from 'react';
import { go } from '../navigation/go';
import { useThread } from '../stores/thread';
import { Button } from '../ui/Button';
import { complain } from '../ui/notes';
import { LogDialog } from './RunLog';

const MEANING: Record<string, string> = {
  worker_error: 'The worker said that it could not go on.',
  worker_crashed: 'The worker broke down in the middle.',
  output_too_large: 'The answer grew larger than is allowed.',
  protocol_error: 'The worker said something that cannot be understood.',
  start_failed: 'The worker could not be started.',
  timeout: 'It took longer than it was given.',
  lost: 'The machine it ran on was lost, more often than it is tried again.',
  worker_unknown: 'The worker is not known where it was to run.',
  worker_unavailable: 'The worker is not available.',
};

/** Why a run failed or was stopped, its log, and a way to try again. */
export function RunFailure({ node, run: known, status }: { node: Node; run: Run | undefined; status: 'error' | 'timeout' | 'cancelled' }) {
  const { data: asked } = useQuery({
    queryKey: ['run', node.runId],
    queryFn: () => loadRun(node.id),
    enabled: !known && !!node.runId,
    staleTime: Infinity,
  });
  const run = known ?? asked;
  const [log, setLog] = useState(false);
  const threadId = useThread((state) => state.data.threadId);
  const retry = async () => {
    try {
      const [first = ''] = (await regenerate(await loadRun(node.id))).outputIds;
      go(threadId, first, { at: first, instead: node.id });
    } catch (error) {
      complain(error);
    }
  };
  const stopped = status === 'cancelled';
  const words = stopped ? 'Stopped. What it had said until then is kept.' : (MEANING[status === 'timeout' ? 'timeout' : (run?.error?.code ?? '')] ?? 'It did not work out.');
  const detail = !stopped && run?.error?.message;
  return (
    <section className={stopped ? 'trouble trouble-stopped' : 'trouble'} role={stopped ? undefined : 'alert'}>
      {stopped ? <CircleSlash aria-hidden="true" /> : <TriangleAlert aria-hidden="true" />}
      <div>
        <p>{words}</p>
        {detail && <p className="detail">{detail}</p>}
      </div>
      <div className="trouble-acts">
        {!stopped && <Button look="quiet" onClick={() => setLog(true)}>Log</Button>}
        <Button icon={RefreshCw} onClick={() => void retry()}>Try again</Button>
      </div>
      {log && run && <LogDialog run={run} onClose={() => setLog(false)} />}
    </section>
  );
}
