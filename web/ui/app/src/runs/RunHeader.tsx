import type { Run } from '@branchline/client/api/types';
import type { Node } from '@branchline/client/thread/state';
import { useEffect, useState } from 'react';
import { useWorkerName } from '../stores/workers';
import { announce } from '../ui/notifications';

/** Which worker answers, with which model. */
export function RunHeader({ node, run }: { node: Node; run: Run | undefined }) {
  const workerName = useWorkerName();
  const id = run?.worker_id ?? node.workerId;
  const name = id ? workerName(id) : node.author || 'Assistant';
  const status = run?.status ?? node.runStatus;
  useAnnounced(status, name);
  const model = typeof run?.config['model'] === 'string' ? run.config['model'] : '';
  return (
    <header className="turn-header">
      <span className="author">{name}</span>
      {model && <span className="model">{model}</span>}
      {status === 'running' && <span className="pulse" aria-hidden="true" />}
      {run && run.attempt > 1 && <span className="model" title="The output of earlier attempts was discarded.">attempt {run.attempt}</span>}
    </header>
  );
}

/** Tell screen readers when an answer begins and ends; its text would be read out piece by piece. */
function useAnnounced(status: string | null | undefined, name: string): void {
  const [before, setBefore] = useState(status);
  useEffect(() => {
    if (status === before) return;
    setBefore(status);
    if (status === 'running') announce(`${name} is answering`);
    else if (status === 'success') announce(`${name} has finished`);
    else if (status === 'waiting') announce(`${name} needs your input`);
  }, [status, before, name]);
}
