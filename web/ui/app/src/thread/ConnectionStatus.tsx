import { useThread } from '../stores/thread';

const LABEL = {
  loading: 'Loading',
  live: 'Live',
  'catching up': 'Catching up',
  reloaded: 'Reloaded',
  offline: 'Offline',
} as const;

const MEANING = {
  loading: 'The thread is being loaded.',
  live: 'What happens here is shown at once.',
  'catching up': 'The connection was interrupted; what was missed is being read.',
  reloaded: 'The connection could not go on where it was; the thread was read anew.',
  offline: 'The server cannot be reached. What is shown may be old; it is tried again.',
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
