import { api } from '@branchline/client/api/calls';
import { ACTIVE_STATUSES, type Run } from '@branchline/client/api/types';
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { Bot, Network } from 'lucide-react';
import { useState } from 'react';
import { MessageList } from '../messages/MessageList';
import { groupParts } from '../messages/parts';
import { Pauses } from '../stores/pauses';
import { SUB_RUN_STATUS, useSubRuns } from '../stores/subRuns';
import { workerName } from '../stores/workers';
import { Collapsible } from '../ui/Collapsible';

/** The workers that a run has called: a card that opens. */
export function SubRuns({ run }: { run: Run }) {
  const [open, setOpen] = useState(false);
  const children = useSubRuns(run.id, run.status, { shown: open && run.has_children, isActive: ACTIVE_STATUSES.has(run.status) });
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
  const [pauses] = useState(() => new Pauses());
  const { data } = useQuery({
    queryKey: ['sub-run', listed.id, listed.status],
    queryFn: () => api.runResult(listed.id),
    enabled: open,
    placeholderData: keepPreviousData,
    refetchInterval: ({ state }) => ACTIVE_STATUSES.has(state.data?.run.status ?? listed.status) && pauses.after(state),
  });
  const run = data?.run ?? listed;
  return (
    <Collapsible icon={Bot} title={workerName(run.worker_id)} aside={SUB_RUN_STATUS[run.status]} working={run.status === 'running'} onToggle={setOpen}>
      {open && data && (
        <>
          <MessageList parts={groupParts(data.messages)} own={run.worker_id} name={workerName(run.worker_id)} />
          {run.error && <p className="quiet" dir="auto">{run.error.message}</p>}
          <SubRuns run={run} />
        </>
      )}
    </Collapsible>
  );
}
