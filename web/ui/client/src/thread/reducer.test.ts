import { describe, expect, test } from 'vitest';
import type { Message, Run, Snapshot, State } from '../api/types';
import type { LogEvent } from '../live/events';
import { type Action, reduce } from './reducer';
import { emptyThread, type ThreadState } from './state';
import { stepCount } from './updates';

const THREAD = 't';
const EPOCH = 'e';

function message(id: string, more: Partial<Message> = {}): Message {
  return {
    id, state_id: 'answer', position: 0, role: 'assistant', type: 'text', channel: 'answer', author: null,
    content: '', data: {}, files: [], status: 'partial', run_id: 'run', created_at: null, ...more,
  };
}

function run(more: Partial<Run> = {}): Run {
  return {
    id: 'run', thread_id: THREAD, parent_run_id: null, call_id: null, session_id: null, turn: null, finish_reason: null, has_children: false, input_state_id: 'question',
    output_state_id: 'answer', worker_id: 'echo',
    worker_digest: '', pool: 'python', config: {}, args: null, status: 'queued', attempt: 0, failures: 0, max_attempts: 3,
    timeout_seconds: 60, priority: 0, error: null, last_failure: null, usage: null, confirmation: null, sandbox: null, steered: false, window: null, cancel_requested_at: null,
    created_at: '2026-01-01T00:00:00Z', started_at: null, finished_at: null, ...more,
  };
}

function state(id: string, parent_id: string | null, more: Partial<State> = {}): State {
  return {
    id, thread_id: THREAD, parent_id, depth: 1, ordinal: 0, children: 0, run_id: null, label: null, starred: false,
    created_at: '2026-01-01T00:00:00Z', ...more,
  };
}

type PartialEvent = { type: LogEvent['type'] } & Record<string, unknown>;

/** Actions with these events, numbered from `first` on. */
function numbered(events: PartialEvent[], first = 1, epoch = EPOCH): Action[] {
  return events.map((event, index) => {
    const seq = first + index;
    const common = { seq, thread_id: THREAD, run_id: 'run', attempt: 1, state_id: 'answer', at: `at ${seq}` };
    return { type: 'event', id: `${epoch}:${seq}`, event: { ...common, ...event } as LogEvent };
  });
}

const delta = (n: number, text: string, message_id = 'm'): PartialEvent => ({ type: 'message.delta', message_id, n, text });

const RUN_EVENTS: PartialEvent[] = [
  { type: 'state.created', state: state('question', 'root', { messages: [message('q', { state_id: 'question', role: 'user', content: 'Hi', status: 'complete' })] }) },
  { type: 'state.created', state: state('answer', 'question', { run_id: 'run' }) },
  { type: 'run.queued', run: run() },
  { type: 'run.started', run: run({ status: 'running', attempt: 1 }) },
  { type: 'run.step', description: 'Thinking' },
  { type: 'message.created', message: message('m') },
  delta(1, 'Hel'),
  delta(2, 'lo, '),
  delta(3, 'world'),
  { type: 'message.completed', message: message('m', { content: 'Hello, world!', status: 'complete' }) },
  { type: 'run.completed', status: 'success', error: null, usage: { output_tokens: 3 }, output_state_id: 'answer' },
];

function snapshot(more: Partial<Snapshot> = {}): Snapshot {
  return { cursor: `${EPOCH}:0`, messages: [], other_branches: [], next: null, open: [], runs: [], session: null, states: { root: siblingInfo() }, steps: {}, ...more };
}

function siblingInfo() {
  return { ordinal: 0, sibling_count: 1, previous_id: null, next_id: null };
}

const PATH = { answer: siblingInfo(), question: siblingInfo(), root: siblingInfo() };

function started(more: Partial<Snapshot> = {}): ThreadState {
  return reduce(emptyThread(THREAD), { type: 'snapshot', snapshot: snapshot(more) });
}

function reduceAll(start: ThreadState, actions: Action[]): ThreadState {
  return actions.reduce(reduce, start);
}

function text(at: ThreadState, id = 'm', stateId = 'answer'): string | undefined {
  return at.messages.get(stateId)?.find((one) => one.id === id)?.content;
}

/** The part of a state that must not depend on the order of arrival. */
function comparable(at: ThreadState) {
  return {
    cursor: at.cursor,
    messages: [...at.messages].sort(),
    nodes: [...at.nodes].sort(),
    children: [...at.children].sort(),
    runs: [...at.runs],
    steps: [...at.steps],
    open: [...at.streaming],
    early: at.pending.size,
    stale: at.stale,
  };
}

/** The items in an order that is pseudo-random and depends on the seed only. */
function shuffled<T>(items: T[], seed: number): T[] {
  const rest = [...items];
  const result: T[] = [];
  for (let value = seed; rest.length; value = (value * 1103515245 + 12345) % 2147483648) {
    result.push(...rest.splice(value % rest.length, 1));
  }
  return result;
}

describe('labels and stars', () => {
  const marks = (id: string): PartialEvent => ({ type: 'state.updated', run_id: null, state: state(id, 'question', { run_id: 'run', label: 'Good', starred: true }) });

  test('change nothing else of a state', () => {
    const before = reduceAll(started(), numbered(RUN_EVENTS));
    const after = reduceAll(before, numbered([marks('answer')], RUN_EVENTS.length + 1));
    expect(after.nodes.get('answer')).toEqual({ ...before.nodes.get('answer'), label: 'Good', starred: true });
    expect(after.messages).toBe(before.messages);
  });

  test('of a state that is not known are ignored, as they come with the tree', () => {
    const after = reduceAll(started(), numbered([marks('elsewhere')]));
    expect(after.nodes.has('elsewhere')).toBe(false);
    expect(after.messages.has('elsewhere')).toBe(false);
  });
});

describe('a history', () => {
  test('brings the runs that fill its states, and how many steps they reported', () => {
    const at = reduce(started(), {
      type: 'history',
      history: { items: [], next: null, states: PATH, runs: [run({ status: 'success' })], steps: { run: 3 } },
    });
    expect(at.runs.get('run')?.status).toBe('success');
    expect(at.nodes.get('answer')?.runStatus).toBe('success');
    expect(stepCount(at, run())).toBe(3);
  });
});

describe('events', () => {
  test('make up the text, the run and the tree', () => {
    const at = reduceAll(started(), numbered(RUN_EVENTS));
    expect(text(at)).toBe('Hello, world!');
    expect(at.runs.get('run')).toMatchObject({ status: 'success', usage: { output_tokens: 3 } });
    expect(at.children.get('question')).toEqual(['answer']);
    expect(at.nodes.get('answer')).toMatchObject({ preview: 'Hello, world!', runStatus: 'success' });
    expect(at.steps.get('run')).toHaveLength(1);
    expect(at.streaming.size).toBe(0);
  });

  test('give the same state in any order of arrival', () => {
    const expected = comparable(reduceAll(started(), numbered(RUN_EVENTS)));
    for (let seed = 1; seed <= 300; seed += 1) {
      expect(comparable(reduceAll(started(), shuffled(numbered(RUN_EVENTS), seed)))).toEqual(expected);
    }
  });

  test('that come twice count once', () => {
    const once = numbered(RUN_EVENTS);
    expect(comparable(reduceAll(started(), once.flatMap((event) => [event, event])))).toEqual(comparable(reduceAll(started(), once)));
    expect(comparable(reduceAll(reduceAll(started(), once), once))).toEqual(comparable(reduceAll(started(), once)));
  });

  test('before the snapshot wait for it', () => {
    const events = numbered(RUN_EVENTS);
    const early = reduceAll(emptyThread(THREAD), events.slice(5));
    expect(early.messages.size).toBe(0);
    const at = reduce(early, {
      type: 'snapshot',
      snapshot: snapshot({
        cursor: `${EPOCH}:8`,
        open: [{ message: message('m', { content: 'Hello, ' }), n: 2 }],
        runs: [run({ status: 'running', attempt: 1 })],
        states: PATH,
      }),
    });
    expect(text(at)).toBe('Hello, world!');
    expect(at.cursor).toEqual({ epoch: EPOCH, seq: 11 });
    expect(at.pending.size).toBe(0);
  });

  test('wait for one that is missing, and are applied when it arrives', () => {
    const events = numbered(RUN_EVENTS);
    const missing = events.splice(6, 1);
    const waiting = reduceAll(started(), events);
    expect(waiting.cursor?.seq).toBe(6);
    expect(text(waiting)).toBe('');
    expect(text(reduceAll(waiting, missing))).toBe('Hello, world!');
  });

  test('of another epoch require a snapshot', () => {
    const at = reduceAll(started(), [...numbered(RUN_EVENTS.slice(0, 7)), ...numbered([delta(2, 'lost')], 1, 'later')]);
    expect(at.stale).toBe(true);
    expect(text(at)).toBe('Hel');
  });
});

describe('deltas', () => {
  const opened = () => reduceAll(started(), numbered(RUN_EVENTS.slice(0, 7)));

  test('that were applied already are ignored', () => {
    expect(text(reduceAll(opened(), numbered([delta(1, 'Hel'), delta(2, 'lo')], 8)))).toBe('Hello');
  });

  test('with a gap in their numbers require a snapshot', () => {
    const at = reduceAll(opened(), numbered([delta(3, 'world')], 8));
    expect(at.stale).toBe(true);
    expect(text(at)).toBe('Hel');
  });

  test('of a complete message are ignored', () => {
    const at = reduceAll(started(), [...numbered(RUN_EVENTS.slice(0, 10)), ...numbered([delta(4, '!!!')], 11)]);
    expect(text(at)).toBe('Hello, world!');
  });

  test('of several messages at once are kept apart', () => {
    const at = reduceAll(opened(), numbered([{ type: 'message.created', message: message('other', { position: 1 }) }, delta(1, 'x', 'other'), delta(2, 'lo'), delta(2, 'y', 'other')], 8));
    expect([text(at), text(at, 'other')]).toEqual(['Hello', 'xy']);
    expect(at.messages.get('answer')?.map((one) => one.id)).toEqual(['m', 'other']);
  });
});

test('the text of a completed message replaces the text of its deltas', () => {
  const at = reduceAll(started(), numbered([...RUN_EVENTS.slice(0, 8), { type: 'message.completed', message: message('m', { content: 'Other words', status: 'complete' }) }]));
  expect(text(at)).toBe('Other words');
});

describe('an attempt that was lost', () => {
  const retried: PartialEvent = { type: 'run.retried', attempt: 2, run: run({ status: 'queued', attempt: 1 }), discarded: ['m'] };

  test('loses its messages', () => {
    const at = reduceAll(started(), numbered([...RUN_EVENTS.slice(0, 8), retried]));
    expect(at.messages.get('answer')).toEqual([]);
    expect(at.streaming.size).toBe(0);
    expect(at.runs.get('run')?.status).toBe('queued');
    expect(at.nodes.get('answer')?.preview).toBe('');
  });

  test('loses what it has read of its inbox until the next one reads it again', () => {
    const read = (attempt: number): PartialEvent[] => {
      const sent = message('sent', { role: 'user', content: 'And birds?', status: 'complete' });
      return [
        { type: 'message.created', attempt, message: { ...sent, content: '', status: 'partial' } },
        { type: 'message.completed', attempt, message: sent },
        { type: 'run.message_delivered', attempt, message_id: 'sent' },
      ];
    };
    const lost = reduceAll(started(), numbered([...read(1), { ...retried, discarded: ['sent'] }]));
    expect(lost.messages.get('answer')).toEqual([]);
    const again = reduceAll(lost, numbered(read(2), 5));
    expect(again.messages.get('answer')?.map(({ content }) => content)).toEqual(['And birds?']);
    expect(again.stale).toBe(false);
  });

  test('loses its steps', () => {
    const first = run({ status: 'running', attempt: 1 });
    const second = run({ status: 'running', attempt: 2 });
    const lost = started({ runs: [first], steps: { run: 5 } });
    expect(stepCount(lost, first)).toBe(5);
    const at = reduceAll(lost, numbered([{ ...retried, discarded: [] }, { type: 'run.started', run: second }, { type: 'run.step', attempt: 2, description: 'Again' }]));
    expect(stepCount(at, second)).toBe(1);
    expect(stepCount(reduce(lost, { type: 'snapshot', snapshot: snapshot({ runs: [second] }) }), second)).toBe(0);
  });

  test('does not undo the next one, which a snapshot has shown', () => {
    const next = started({
      cursor: `${EPOCH}:8`,
      open: [{ message: message('m2', { content: 'Again' }), n: 1 }],
      runs: [run({ status: 'running', attempt: 2 })],
      states: PATH,
    });
    const at = reduceAll(next, numbered([retried], 9));
    expect(at.runs.get('run')).toMatchObject({ status: 'running', attempt: 2 });
    expect(text(at, 'm2')).toBe('Again');
  });
});

describe('a run', () => {
  test('that has ended does not go back', () => {
    const at = reduceAll(started(), [...numbered(RUN_EVENTS), ...numbered([{ type: 'run.started', run: run({ status: 'running', attempt: 1 }) }], 12)]);
    expect(at.runs.get('run')?.status).toBe('success');
  });

  test('waits for an answer, is queued again, and continues', () => {
    const asked = reduceAll(started(), numbered([...RUN_EVENTS.slice(0, 4), { type: 'run.waiting', confirmation: { id: 'c', prompt: 'Shall I?', options: ['yes'] } }]));
    expect(asked.runs.get('run')).toMatchObject({ status: 'waiting', confirmation: { prompt: 'Shall I?' } });
    const answered = reduceAll(asked, numbered([{ type: 'run.queued', run: run({ attempt: 1 }) }], 6));
    expect(answered.runs.get('run')?.status).toBe('queued');
    const on = reduceAll(answered, numbered([{ type: 'run.started', run: run({ status: 'running', attempt: 2 }) }], 7));
    expect(on.runs.get('run')).toMatchObject({ status: 'running', attempt: 2 });
  });

  test('closes the messages that were still being written', () => {
    const at = reduceAll(started(), numbered([...RUN_EVENTS.slice(0, 8), { type: 'run.completed', status: 'cancelled', error: null, usage: null, output_state_id: 'answer' }]));
    expect(at.streaming.size).toBe(0);
    expect(text(at)).toBe('Hello, ');
  });
});

describe('another branch', () => {
  const thought = message('r', { channel: 'reasoning', content: 'Hm', status: 'complete' });

  test('that is being filled is complete after a snapshot', () => {
    const running = run({ status: 'running', attempt: 1 });
    const open = [{ message: message('m', { position: 1, content: 'Hel' }), n: 1 }];
    const at = started({ cursor: `${EPOCH}:8`, other_branches: [thought], open, runs: [running] });
    expect(at.messages.get('answer')?.map((one) => one.content)).toEqual(['Hm', 'Hel']);
    expect(text(reduceAll(at, numbered([delta(2, 'lo')], 9)))).toBe('Hello');
  });

  test('without messages yet is loaded, and grows', () => {
    const at = started({ runs: [run({ status: 'waiting', attempt: 1 })] });
    expect(at.messages.get('answer')).toEqual([]);
    expect(text(reduceAll(at, numbered(RUN_EVENTS.slice(5, 8))))).toBe('Hello, ');
  });

  test('that was not loaded is not created by its later messages', () => {
    const later = message('m', { position: 1 });
    const at = reduceAll(started(), numbered([
      { type: 'message.created', message: later },
      delta(1, 'Hello'),
      { type: 'message.completed', message: { ...later, content: 'Hello', status: 'complete' } },
    ]));
    expect(at.messages.has('answer')).toBe(false);
    expect([at.streaming.size, at.stale]).toEqual([0, false]);
  });
});

describe('a reset', () => {
  test('holds events back until the snapshot of the new epoch', () => {
    const reset = reduce(reduceAll(started(), numbered(RUN_EVENTS.slice(0, 7))), { type: 'reset' });
    const later = reduceAll(reset, numbered([delta(3, 'world')], 2, 'later'));
    expect(text(later)).toBe('Hel');
    const at = reduce(later, {
      type: 'snapshot',
      snapshot: snapshot({
        cursor: 'later:1',
        open: [{ message: message('m', { content: 'Hello, ' }), n: 2 }],
        runs: [run({ status: 'running', attempt: 1 })],
        states: PATH,
      }),
    });
    expect(at.stale).toBe(false);
    expect(text(at)).toBe('Hello, world');
  });

  test('forgets a run that ended meanwhile, and keeps what cannot change any more', () => {
    const before = reduceAll(started({ runs: [run({ id: 'elsewhere', status: 'running', attempt: 1, output_state_id: 'other' })] }), numbered(RUN_EVENTS));
    const at = reduce(before, { type: 'snapshot', snapshot: snapshot({ cursor: 'later:0' }) });
    expect(at.runs.has('elsewhere')).toBe(false);
    expect(at.runs.get('run')?.status).toBe('success');
    expect(text(at)).toBe('Hello, world!');
  });
});

describe('history', () => {
  const history = (items: Message[], next: string | null, states: string[]): Action => ({
    type: 'history',
    history: { items, next, states: Object.fromEntries(states.map((id) => [id, siblingInfo()])) },
  });

  test('is put before newer messages, and has the cursor to read on', () => {
    const newest = reduce(started(), history([message('b', { state_id: 's2', position: 1, status: 'complete' })], 'cursor', ['s3', 's2']));
    expect(newest.olderCursors.get('s2')).toBe('cursor');
    expect(newest.nodes.get('s2')?.parentId).toBeUndefined();
    const whole = reduce(newest, history([message('a', { state_id: 's2', position: 0, status: 'complete' })], null, ['s2', 's1']));
    expect(whole.messages.get('s2')?.map((one) => one.id)).toEqual(['a', 'b']);
    expect(whole.olderCursors.size).toBe(0);
    expect(whole.nodes.get('s2')?.parentId).toBe('s1');
    expect(whole.nodes.get('s1')?.parentId).toBeNull();
  });

  test('does not replace a text that is being written by an older one', () => {
    const writing = reduceAll(started(), numbered(RUN_EVENTS.slice(0, 8)));
    const at = reduce(writing, history([message('m', { content: 'Hel' })], null, ['answer', 'question', 'root']));
    expect(text(at)).toBe('Hello, ');
  });
});
