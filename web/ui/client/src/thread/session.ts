/** Questions about the session of a thread, which has it go on by itself. */
import { ACTIVE_STATUSES, type Session } from '../api/types';
import type { ThreadState } from './state';

/** The author of a prompt that a session has sent by itself. */
export const AUTO_AUTHOR = 'auto';

/** The session with what is newer of the two; a thread has one at most. */
export function laterSession(known: Session | null, other: Session | null): Session | null {
  if (!other || !known || known.id !== other.id) return other ?? known;
  return known.revision > other.revision ? known : other;
}

/** Whether a turn of it is under way. */
export function isUnderWay({ status }: Session): boolean {
  return status === 'running' || status === 'waiting';
}

/** The state that its last turn fills, or has filled; null if none has begun or it is not known. */
export function turnState({ session, runs }: Pick<ThreadState, 'session' | 'runs'>): string | null {
  return (session?.run_id && runs.get(session.run_id)?.output_state_id) || null;
}

/** Whether a message below `state` is one to the session: where its turn is under way, or where it goes on. */
export function isTip(data: Pick<ThreadState, 'session' | 'runs'>, state: string | null): boolean {
  const { session } = data;
  if (!session || session.status === 'closed' || !state) return false;
  // The session is reported before the states of its turn.
  return state === ((isUnderWay(session) && turnState(data)) || session.tip_state_id);
}

/** Whether the session can be told to go on from a state: its run has ended, and it does not go on there anyway. */
export function canGoOnFrom({ session, nodes }: Pick<ThreadState, 'session' | 'nodes'>, state: string): boolean {
  const status = nodes.get(state)?.runStatus;
  return !!session && session.status !== 'closed' && session.tip_state_id !== state && !(status && ACTIVE_STATUSES.has(status));
}

/**
 * The state to show instead of `head` when a turn has begun; null to stay.
 *
 * Whoever sees the turn before it (`before`), or where the new one goes on, goes along.
 */
export function nextHead(data: Pick<ThreadState, 'session' | 'runs' | 'nodes'>, head: string | null, before: string | null): string | null {
  const next = turnState(data);
  if (!next || !head || next === before || next === head || !data.nodes.has(next)) return null;
  const input = data.nodes.get(next)?.parentId;
  const from = input ? data.nodes.get(input)?.parentId : null;
  return head === before || head === input || head === from ? next : null;
}
