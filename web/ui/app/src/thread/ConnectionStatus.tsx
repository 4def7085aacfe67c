import { useThread } from '../stores/thread';
import { useWaiting } from '../ui/WaitingNotice';

const LABEL = {
  loading: 'Loading',
  live: 'Live',
  'catching up': 'Catching up',
  reloaded: 'Reloaded',
  offline: 'Offline',
  waiting: 'Waiting',
} as const;

const MEANING = {
  loading: 'The thread is loading.',
  live: 'Updates appear immediately.',
  'catching up': 'The connection was interrupted. Missed updates are being loaded.',
  reloaded: 'The connection was interrupted, and the thread was reloaded.',
  offline: 'The server cannot be reached. What you see may be outdated. Retrying …',
  waiting: 'The server has not answered for a while.',
} as const;

/** How current what is shown is. */
export function ConnectionStatus() {
  const syncStatus = useThread((state) => state.syncStatus);
  const waiting = useWaiting();
  const status = waiting && syncStatus !== 'offline' ? 'waiting' : syncStatus;
  return (
    <span className="connection" role="status" data-status={status} title={MEANING[status]}>
      <span className="connection-dot" aria-hidden="true" />
      <span className="connection-label">{LABEL[status]}</span>
    </span>
  );
}
