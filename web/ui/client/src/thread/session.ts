/** Questions about the session of a thread, which has it go on by itself. */
import { ACTIVE_STATUSES, type Session } from '../api/types';
import type { ThreadState } from './state';
import { pathTo } from './tree';

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

/** Where a session is: the state that its last turn fills, else the one where its first turn begins; null without one. */
export function standOf(data: Pick<ThreadState, 'session' | 'runs'>): string | null {
  return turnState(data) ?? data.session?.tip_state_id ?? null;
}

/**
 * The state to show instead of `head` when turns have begun since the session was at `before`; null to stay.
 *
 * Whoever sees what the session has passed since, or where the new turn goes on, goes along.
 */
export function nextHead(data: Pick<ThreadState, 'session' | 'runs' | 'nodes'>, head: string | null, before: string | null): string | null {
  const next = turnState(data);
  if (!next || !head || next === before || next === head || !data.nodes.has(next)) return null;
  const path = pathTo(data.nodes, next);
  const passed = before ? path.indexOf(before) : -1;
  // Behind the state where it goes on are the input of the turn and the turn itself.
  const since = path.slice(passed < 0 ? -3 : passed);
  return head === before || since.includes(head) ? next : null;
}

/** The state to show to whoever has begun a turn that fills `begun`: that of a later turn which has followed it already. */
export function latestOf(data: Pick<ThreadState, 'session' | 'runs' | 'nodes'>, begun: string): string {
  const last = turnState(data);
  return last && pathTo(data.nodes, last).includes(begun) ? last : begun;
}
