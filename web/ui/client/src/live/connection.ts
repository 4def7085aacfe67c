/** One connection to `GET /api/events`: hints, and the logs of several threads. */
import { BASE_PATH } from '../api/basePath';
import { EVENT_TYPES, type Hint, type LogEvent } from './events';

export interface ConnectionHandlers {
  onOpen: () => void;
  onEvent: (id: string, event: LogEvent) => void;
  onReset: (thread: string, reason: string) => unknown;
  onHint: (hint: Hint) => void;
  /** It failed or was closed by the server, and is over; `refused`: the server answered with an error. */
  onFailure: (refused: boolean) => unknown;
}

const HINT_TYPES = ['thread.updated', 'thread.deleted', 'run.changed', 'reload'];
const TYPES = new Set<string>([...EVENT_TYPES, ...HINT_TYPES, 'reset']);

/** Threads that one connection can carry; the server accepts no more. */
export const MAX_THREADS = 32;

/** Connect, to follow each of these threads from its cursor; the function that is returned closes the connection. */
export function connect(userId: string, cursors: ReadonlyMap<string, string>, handlers: ConnectionHandlers): () => void {
  const threads = [...cursors].map(([id, cursor]) => `${id}@${encodeURIComponent(cursor)}`).join(',');
  const source = new EventSource(`${BASE_PATH}/api/events?user=${userId}${threads && `&threads=${threads}`}`);
  source.onopen = handlers.onOpen;
  source.onerror = () => {
    const refused = source.readyState === EventSource.CLOSED;
    // The browser would connect again from the cursors of this address, which are outdated by then.
    source.close();
    handlers.onFailure(refused);
  };
  for (const type of TYPES) {
    source.addEventListener(type, (event) => {
      const { data, lastEventId } = event as MessageEvent<string>;
      const record = JSON.parse(data) as { thread_id: string; reason: string } | LogEvent | Hint;
      if ('reason' in record && type === 'reset') handlers.onReset(record.thread_id, record.reason);
      // Hints have no number in a log, and share some types with events.
      else if ('seq' in record) handlers.onEvent(lastEventId, record);
      else handlers.onHint(record as Hint);
    });
  }
  return () => source.close();
}
