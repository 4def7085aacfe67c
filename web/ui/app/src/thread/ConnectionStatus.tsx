import { useThread } from '../stores/thread';

const LABEL = {
  loading: 'Loading',
  live: 'Live',
  'catching up': 'Catching up',
  reloaded: 'Reloaded',
  offline: 'Offline',
} as const;

const MEANING = {
  loading: 'The thread is loading.',
  live: 'Updates appear immediately.',
  'catching up': 'The connection was interrupted. Missed updates are being loaded.',
  reloaded: 'The connection was interrupted, and the thread was reloaded.',
  offline: 'The server cannot be reached. What you see may be outdated. Retrying …',
} as const;

/** How current what is shown is. */
export function ConnectionStatus() {
  const status = useThread((state) => state.syncStatus);
  return (
    <span className="connection" role="status" data-status={status} title={MEANING[status]}>
      <span className="connection-dot" aria-hidden="true" />
      <span className="connection-label">{LABEL[status]}</span>
    </span>
  );
}
