import { useThread } from '../stores/thread';

const WORDS = {
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

/** How well what is shown keeps up with the server. */
export function ConnectionStatus() {
  const freshness = useThread((state) => state.syncStatus);
  return (
    <span className="connection" role="status" data-freshness={freshness} title={MEANING[freshness]}>
      <span className="connection-dot" aria-hidden="true" />
      <span className="connection-word">{WORDS[freshness]}</span>
    </span>
  );
}
