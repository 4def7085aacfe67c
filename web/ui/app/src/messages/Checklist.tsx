import { ACTIVE_STATUSES, type Message, type Run } from '@branchline/client/api/types';
import { Square, SquareCheck, SquareX } from 'lucide-react';
import { SUB_RUN_STATUS, useSubRuns } from '../stores/subRuns';
import { useThread } from '../stores/thread';
import type { Entry } from './entries';

/** The tasks of a plan, each ticked when the sub-run of its call ends. */
export function Checklist({ message, entries }: { message: Message; entries: readonly Entry[] }) {
  // Of a run that another one has called the thread knows nothing.
  const status = useThread((state) => state.data.runs.get(message.run_id ?? '')?.status);
  const isOpen = entries.some((entry) => !entry.status);
  const subRuns = useSubRuns(message.run_id ?? '', status, {
    shown: isOpen && message.run_id !== null,
    isActive: status === undefined ? message.status === 'partial' : ACTIVE_STATUSES.has(status),
  });
  return (
    <ul className="checklist" aria-label="Tasks">
      {entries.map((entry) => {
        const reached = entry.status ?? subRuns?.find((run) => run.call_id === entry.callId)?.status;
        return (
          <li key={entry.callId} data-status={reached}>
            <Box status={reached} />
            <span dir="auto">{entry.title}</span>
            <small>{reached ? SUB_RUN_STATUS[reached] : 'to do'}</small>
          </li>
        );
      })}
    </ul>
  );
}

function Box({ status }: { status: Run['status'] | undefined }) {
  if (status === 'running') return <span className="dots" aria-hidden="true"><i /><i /><i /></span>;
  const Icon = status === 'success' ? SquareCheck : status && !ACTIVE_STATUSES.has(status) ? SquareX : Square;
  return <Icon aria-hidden="true" />;
}
