/**
 * The changes that what is known of a thread can undergo. All of them are pure functions.
 *
 * The log is followed from a snapshot on. When it cannot be followed any more, the state is `stale`
 * until the next snapshot.
 */
import type { Accepted, History, Run, Snapshot, State, Thread, TreeNode } from '../api/types';
import type { LogEvent } from '../live/events';
import { receive } from './log';
import { applyHistory, applySnapshot, applyTree } from './snapshot';
import type { ThreadState } from './state';
import { latest, withRun, withState } from './updates';

export type Action =
  | { type: 'event'; id: string; event: LogEvent }
  | { type: 'reset' }
  | { type: 'snapshot'; snapshot: Snapshot }
  | { type: 'thread'; thread: Thread }
  | { type: 'tree'; items: TreeNode[]; last: boolean }
  | { type: 'history'; history: History }
  | { type: 'accepted'; accepted: Accepted }
  | { type: 'state'; state: State }
  | { type: 'run'; run: Run };

export function reduce(state: ThreadState, action: Action): ThreadState {
  switch (action.type) {
    case 'event':
      return receive(state, action.id, action.event);
    case 'reset':
      return { ...state, stale: true };
    case 'snapshot':
      return applySnapshot(state, action.snapshot);
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
  }
}
