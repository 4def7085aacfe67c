/**
 * The changes that what is known of a thread can undergo. All of them are pure functions.
 *
 * The log is followed from a snapshot on. When it cannot be followed any more, the state is `stale`
 * until the next snapshot.
 */
import type { Accepted, History, Run, Session, Snapshot, State, Thread, TreeNode } from '../api/types';
import type { LogEvent } from '../live/events';
import { drain, receive } from './log';
import { applyHistory, applySnapshot, applyTree } from './snapshot';
import { laterSession } from './session';
import type { ThreadState } from './state';
import { latest, withRun, withState } from './updates';

export type Action =
  | { type: 'event'; id: string; event: LogEvent }
  | { type: 'reset' }
  /** What came after the snapshot is applied with it, or, if `hold`, by `drain`: first it is seen as it was. */
  | { type: 'snapshot'; snapshot: Snapshot; hold?: boolean }
  | { type: 'drain' }
  | { type: 'thread'; thread: Thread }
  | { type: 'tree'; items: TreeNode[]; last: boolean }
  | { type: 'history'; history: History }
  | { type: 'accepted'; accepted: Accepted }
  | { type: 'state'; state: State }
  | { type: 'run'; run: Run }
  | { type: 'session'; session: Session };

export function reduce(state: ThreadState, action: Action): ThreadState {
  switch (action.type) {
    case 'event':
      return receive(state, action.id, action.event);
    case 'reset':
      return { ...state, stale: true };
    case 'snapshot':
      return action.hold ? applySnapshot(state, action.snapshot) : drain(applySnapshot(state, action.snapshot));
    case 'drain':
      return drain(state);
    case 'thread':
      return { ...state, thread: latest(state.thread, action.thread) };
    case 'tree':
      return applyTree(state, action.items, action.last);
    case 'history':
      return applyHistory(state, action.history);
    case 'accepted': {
      const { runs, states, input_state } = action.accepted;
      return runs.reduce(withRun, [input_state, ...states].reduce(withState, state));
    }
    case 'state':
      return withState(state, action.state);
    case 'run':
      return withRun(state, action.run);
    case 'session':
      return { ...state, session: laterSession(state.session, action.session) };
  }
}
