/** The events of the streams, and cursors in a thread's log. */
import type { Confirmation, Message, Run, Session, State, Thread } from '../api/types';

/** The position of an event in a thread's log: `<epoch>:<seq>`. */
export interface Cursor {
  epoch: string;
  seq: number;
}

/** The cursor that a text spells; null if it spells none. */
export function parseCursor(text: string): Cursor | null {
  const colon = text.lastIndexOf(':');
  const seq = Number(text.slice(colon + 1));
  return colon > 0 && Number.isSafeInteger(seq) ? { epoch: text.slice(0, colon), seq } : null;
}

/** What every event of a thread's log has. */
interface EventHeader {
  seq: number;
  thread_id: string;
  run_id: string | null;
  attempt: number;
  state_id: string | null;
  at: string;
}

export type LogEvent = EventHeader &
  (
    | { type: 'thread.updated' | 'thread.deleted'; thread: Thread }
    | { type: 'session.updated'; session: Session }
    | { type: 'state.created' | 'state.updated'; state: State }
    | { type: 'run.queued' | 'run.started'; run: Run }
    | { type: 'run.retried'; run: Run; discarded: string[] }
    | { type: 'run.step'; description: string }
    | { type: 'run.message_delivered'; message_id: string }
    | { type: 'run.child'; child_run_id: string; child_thread_id: string; call_id: string; worker_id: string }
    | { type: 'run.waiting'; confirmation: Confirmation }
    | { type: 'run.completed'; status: Run['status']; error: Run['error']; usage: Run['usage']; output_state_id: string }
    | { type: 'message.created' | 'message.completed'; message: Message }
    | { type: 'message.delta'; message_id: string; n: number; text: string }
  );

export type EventType = LogEvent['type'];

export const EVENT_TYPES: readonly EventType[] = [
  'thread.updated',
  'thread.deleted',
  'session.updated',
  'state.created',
  'state.updated',
  'run.queued',
  'run.started',
  'run.retried',
  'run.step',
  'run.message_delivered',
  'run.child',
  'run.waiting',
  'run.completed',
  'message.created',
  'message.delta',
  'message.completed',
];

/** An event of the user's stream. It hints that something in the lists has changed, and does not say what. */
export interface Hint {
  type: 'thread.updated' | 'thread.deleted' | 'run.changed' | 'reload';
  thread_id?: string;
  run_id?: string;
  status?: Run['status'];
}
