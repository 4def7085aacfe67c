import { api } from '@branchline/client/api/calls';
import { ACTIVE_STATUSES, type Run } from '@branchline/client/api/types';
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { Bot, Network } from 'lucide-react';
import { useState } from 'react';
import { MessageView } from '../messages/MessageView';
import { groupParts } from '../messages/parts';
import { workerName } from '../stores/workers';
import { Collapsible } from '../ui/Collapsible';

const READ_AGAIN = 1000;

const STATUS: Record<Run['status'], string> = {
  queued: 'about to start',
  running: 'working …',
  waiting: 'has a question',
  success: 'done',
  error: 'failed',
  timeout: 'timed out',
  cancelled: 'cancelled',
};

/** The workers that a run has called: a card that opens, and is read again while they work. */
export function SubRuns({ run }: { run: Run }) {
  const [open, setOpen] = useState(false);
  const isActive = ACTIVE_STATUSES.has(run.status);
  const { data: children } = useQuery({
    queryKey: ['children', run.id, run.status],
    queryFn: () => api.runChildren(run.id),
    enabled: open && run.has_children,
    refetchInterval: isActive && READ_AGAIN,
    placeholderData: keepPreviousData,
  });
  if (!run.has_children) return null;
  return (
    <Collapsible icon={Network} quiet title="Sub-runs" working={run.status === 'running'} onToggle={setOpen}>
      {open && (
        <ul className="sub-runs" aria-label="Sub-runs">
          {children?.toReversed().map((child) => <li key={child.id}><SubRun run={child} /></li>)}
        </ul>
      )}
    </Collapsible>
  );
}

/** What one of them was asked and has said so far. */
function SubRun({ run: listed }: { run: Run }) {
  const [open, setOpen] = useState(false);
  const { data } = useQuery({
    queryKey: ['sub-run', listed.id, listed.status],
    queryFn: () => api.runResult(listed.id),
    enabled: open,
    placeholderData: keepPreviousData,
    refetchInterval: ({ state }) => ACTIVE_STATUSES.has(state.data?.run.status ?? listed.status) && READ_AGAIN,
  });
  const run = data?.run ?? listed;
  return (
    <Collapsible icon={Bot} title={workerName(run.worker_id)} aside={STATUS[run.status]} working={run.status === 'running'} onToggle={setOpen}>
      {open && data && (
        <>
          {groupParts(data.messages).map((part) => <MessageView key={part.message.id} part={part} />)}
          {run.error && <p className="quiet" dir="auto">{run.error.message}</p>}
          <SubRuns run={run} />
        </>
      )}
    </Collapsible>
  );
}
