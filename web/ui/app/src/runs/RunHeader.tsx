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
      {/* A run that was answered goes on in another attempt, from where it was: only failures lose something. */}
      {run && run.failures > 0 && <span className="model" title={failureTitle(run)}>attempt {run.failures + 1}</span>}
    </header>
  );
}

function failureTitle({ last_failure }: Run): string {
  const discarded = 'What the attempts before it had written was discarded.';
  return last_failure ? `${discarded} The last one failed: ${last_failure.message}` : discarded;
}

/** Tell screen readers when an answer begins and ends; its text would be read out piece by piece. */
function useAnnounced(status: string | null | undefined, name: string): void {
  const [before, setBefore] = useState(status);
  useEffect(() => {
    if (status === before) return;
    setBefore(status);
    if (status === 'running') announce(`${name} is answering`);
    else if (status === 'success') announce(`${name} has finished`);
    else if (status === 'queued' && before === 'running') announce(`${name} is to be tried again`);
    else if (status === 'waiting') announce(`${name} needs your input`);
  }, [status, before, name]);
}
