import { expect, test } from 'vitest';
import type { Run, Session, Snapshot, State } from '../api/types';
import type { LogEvent } from '../live/events';
import { type Action, reduce } from './reducer';
import { canGoOnFrom, isTip, latestOf, nextHead, standOf } from './session';
import { emptyThread, type ThreadState } from './state';

/** A session whose turn 1 is under way, below `root`; turn n is filled by run `r<n>` into `a<n>`, below `q<n>`. */
function session(more: Partial<Session> = {}): Session {
  return { id: 's', thread_id: 't', status: 'running', revision: 1, run_id: 'r1', tip_state_id: 'root', ...more } as Session;
}

function state(id: string, parent_id: string | null, run_id: string | null = null): Action {
  return { type: 'state', state: { id, thread_id: 't', parent_id, run_id, ordinal: 0, label: null, starred: false, created_at: '' } as State };
}

function turn(n: number, below: string): Action[] {
  const run = { id: `r${n}`, thread_id: 't', input_state_id: `q${n}`, output_state_id: `a${n}`, status: 'running', attempt: 1 } as Run;
  return [state(`q${n}`, below), state(`a${n}`, `q${n}`, run.id), { type: 'run', run }];
}

function told(session: Session): Action {
  return { type: 'session', session };
}

function snapshot(of: Session | null): Action {
  const nothing = { messages: [], other_branches: [], next: null, open: [], runs: [], states: {}, steps: {} };
  return { type: 'snapshot', snapshot: { cursor: 'e:0', session: of, ...nothing } as unknown as Snapshot };
}

function known(...actions: Action[]): ThreadState {
  return [snapshot(session()), state('root', null), ...turn(1, 'root'), ...actions].reduce(reduce, emptyThread('t'));
}

test('an event of the session is applied, and an older answer does not take it back', () => {
  const event = { seq: 1, type: 'session.updated', session: session({ revision: 3, status: 'stop' }) } as LogEvent;
  const at = known({ type: 'event', id: 'e:1', event }, told(session({ revision: 2 })));
  expect(at.session?.status).toBe('stop');
  expect(reduce(at, snapshot(session({ revision: 2 }))).session?.revision).toBe(3);
  expect(reduce(emptyThread('t'), snapshot(null)).session).toBeNull();
});

test('a message goes to the session below the turn that is under way, else below the state where it goes on', () => {
  expect(isTip(known(), 'a1')).toBe(true);
  expect(isTip(known(), 'root')).toBe(false);
  const stopped = known(told(session({ revision: 2, status: 'stop', tip_state_id: 'q1' })));
  expect([isTip(stopped, 'q1'), isTip(stopped, 'a1')]).toEqual([true, false]);
  const closed = known(told(session({ revision: 2, status: 'closed', tip_state_id: 'a1' })));
  expect(isTip(closed, 'a1')).toBe(false);
});

test('it is told to go on from a state whose run has ended only, and not from where it goes on anyway', () => {
  const at = known(told(session({ revision: 2, status: 'stop', tip_state_id: 'root' })));
  expect([canGoOnFrom(at, 'q1'), canGoOnFrom(at, 'a1'), canGoOnFrom(at, 'root')]).toEqual([true, false, false]);
});

test('the next turn is shown to whoever has seen the one before it, or where it goes on', () => {
  const at = known(...turn(2, 'a1'), told(session({ revision: 2, run_id: 'r2' })));
  expect(nextHead(at, 'a1', 'a1')).toBe('a2');
  expect(nextHead(at, 'q2', 'a1')).toBe('a2');
  expect(nextHead(at, 'root', 'a1')).toBeNull();
  expect(nextHead(at, 'a2', 'a1')).toBeNull();
});

test('of two turns that begin at once the last one is shown', () => {
  const at = known(...turn(2, 'a1'), ...turn(3, 'a2'), told(session({ revision: 3, run_id: 'r3' })));
  expect(nextHead(at, 'a1', 'a1')).toBe('a3');
});

test('whoever sees where the first turn began goes along, though further turns have followed at once', () => {
  const fresh = [snapshot(session({ status: 'init', run_id: null })), state('root', null)].reduce(reduce, emptyThread('t'));
  expect(standOf(fresh)).toBe('root');
  const at = [...turn(1, 'root'), ...turn(2, 'a1'), ...turn(3, 'a2'), told(session({ revision: 3, run_id: 'r3' }))].reduce(reduce, fresh);
  expect(['root', 'a1', 'q3'].map((head) => nextHead(at, head, 'root'))).toEqual(['a3', 'a3', 'a3']);
  expect(nextHead(at, 'root', 'a1')).toBeNull();
});

test('whoever has begun a turn is shown the later one that has followed it before the answer came', () => {
  const at = known(...turn(2, 'a1'), ...turn(3, 'a2'), told(session({ revision: 3, run_id: 'r3' })));
  expect(latestOf(at, 'a1')).toBe('a3');
  expect(latestOf(at, 'a3')).toBe('a3');
  expect(latestOf(at, 'elsewhere')).toBe('elsewhere');
  expect(latestOf(known(told(session({ revision: 2, run_id: 'r2' }))), 'a1')).toBe('a1');
});

test('a thread is seen as its snapshot has it before what came after that', () => {
  const event = { seq: 1, type: 'session.updated', session: session({ revision: 2, run_id: 'r2' }) } as LogEvent;
  const held = [{ type: 'event', id: 'e:1', event } as Action, { ...snapshot(session()), hold: true } as Action].reduce(reduce, emptyThread('t'));
  expect(held.session?.run_id).toBe('r1');
  expect(reduce(held, { type: 'drain' }).session?.run_id).toBe('r2');
});

test('a turn whose state is not known yet is not shown', () => {
  expect(nextHead(known(told(session({ revision: 2, run_id: 'r2' }))), 'a1', 'a1')).toBeNull();
});
