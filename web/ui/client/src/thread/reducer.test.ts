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
    content: '', data: {}, status: 'partial', run_id: 'run', created_at: null, ...more,
  };
}

function run(more: Partial<Run> = {}): Run {
  return {
    id: 'run', thread_id: THREAD, parent_run_id: null, input_state_id: 'question', output_state_id: 'answer', worker_id: 'echo',
    worker_digest: '', pool: 'python', config: {}, args: null, status: 'queued', attempt: 0, failures: 0, max_attempts: 3,
    timeout_seconds: 60, priority: 0, error: null, usage: null, confirmation: null, cancel_requested_at: null,
    created_at: '2026-01-01T00:00:00Z', started_at: null, finished_at: null, ...more,
  };
}

function state(id: string, parent_id: string | null, more: Partial<State> = {}): State {
  return {
    id, thread_id: THREAD, parent_id, depth: 1, ordinal: 0, children: 0, run_id: null, label: null, starred: false,
    created_at: '2026-01-01T00:00:00Z', ...more,
  };
}

type Loose = { type: LogEvent['type'] } & Record<string, unknown>;

/** Events with numbers from `first` on. */
function told(events: Loose[], first = 1, epoch = EPOCH): Action[] {
  return events.map((event, index) => {
    const seq = first + index;
    const common = { seq, thread_id: THREAD, run_id: 'run', attempt: 1, state_id: 'answer', at: `at ${seq}` };
    return { type: 'event', id: `${epoch}:${seq}`, event: { ...common, ...event } as LogEvent };
  });
}

const delta = (n: number, text: string, message_id = 'm'): Loose => ({ type: 'message.delta', message_id, n, text });

const TURN: Loose[] = [
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
  return { cursor: `${EPOCH}:0`, messages: [], other_branches: [], next: null, open: [], runs: [], states: { root: place() }, steps: {}, ...more };
}

function place() {
  return { ordinal: 0, sibling_count: 1, previous_id: null, next_id: null };
}

const WAY = { answer: place(), question: place(), root: place() };

function begun(more: Partial<Snapshot> = {}): ThreadState {
  return reduce(emptyThread(THREAD), { type: 'snapshot', snapshot: snapshot(more) });
}

function all(start: ThreadState, actions: Action[]): ThreadState {
  return actions.reduce(reduce, start);
}

function text(at: ThreadState, id = 'm', stateId = 'answer'): string | undefined {
  return at.messages.get(stateId)?.find((one) => one.id === id)?.content;
}

/** What a picture of it would be made of. */
function picture(at: ThreadState) {
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

/** A fixed sequence that looks random. */
function shuffled<T>(items: T[], seed: number): T[] {
  const rest = [...items];
  const result: T[] = [];
  for (let value = seed; rest.length; value = (value * 1103515245 + 12345) % 2147483648) {
    result.push(...rest.splice(value % rest.length, 1));
  }
  return result;
}

describe('marks', () => {
  const marks = (id: string): Loose => ({ type: 'state.updated', run_id: null, state: state(id, 'question', { run_id: 'run', label: 'Good', starred: true }) });

  test('name and star a state, and change nothing else of it', () => {
    const before = all(begun(), told(TURN));
    const after = all(before, told([marks('answer')], TURN.length + 1));
    expect(after.nodes.get('answer')).toEqual({ ...before.nodes.get('answer'), label: 'Good', starred: true });
    expect(after.messages).toBe(before.messages);
  });

  test('of a state that is not here yet come with the tree', () => {
    const after = all(begun(), told([marks('elsewhere')]));
    expect(after.nodes.has('elsewhere')).toBe(false);
    expect(after.messages.has('elsewhere')).toBe(false);
  });
});

describe('a history', () => {
  test('brings the runs that fill its states, and how many steps they told of', () => {
    const at = reduce(begun(), {
      type: 'history',
      history: { items: [], next: null, states: WAY, runs: [run({ status: 'success' })], steps: { run: 3 } },
    });
    expect(at.runs.get('run')?.status).toBe('success');
    expect(at.nodes.get('answer')?.runStatus).toBe('success');
    expect(stepCount(at, run())).toBe(3);
  });
});

describe('events', () => {
  test('make up the text, the run and the tree', () => {
    const at = all(begun(), told(TURN));
    expect(text(at)).toBe('Hello, world!');
    expect(at.runs.get('run')).toMatchObject({ status: 'success', usage: { output_tokens: 3 } });
    expect(at.children.get('question')).toEqual(['answer']);
    expect(at.nodes.get('answer')).toMatchObject({ preview: 'Hello, world!', runStatus: 'success' });
    expect(at.steps.get('run')).toHaveLength(1);
    expect(at.streaming.size).toBe(0);
  });

  test('give the same picture in any order of arrival', () => {
    const expected = picture(all(begun(), told(TURN)));
    for (let seed = 1; seed <= 300; seed += 1) {
      expect(picture(all(begun(), shuffled(told(TURN), seed)))).toEqual(expected);
    }
  });

  test('that come twice count once', () => {
    const once = told(TURN);
    expect(picture(all(begun(), once.flatMap((event) => [event, event])))).toEqual(picture(all(begun(), once)));
    expect(picture(all(all(begun(), once), once))).toEqual(picture(all(begun(), once)));
  });

  test('before the snapshot wait for it', () => {
    const events = told(TURN);
    const early = all(emptyThread(THREAD), events.slice(5));
    expect(early.messages.size).toBe(0);
    const at = reduce(early, {
      type: 'snapshot',
      snapshot: snapshot({
        cursor: `${EPOCH}:8`,
        open: [{ message: message('m', { content: 'Hello, ' }), n: 2 }],
        runs: [run({ status: 'running', attempt: 1 })],
        states: WAY,
      }),
    });
    expect(text(at)).toBe('Hello, world!');
    expect(at.cursor).toEqual({ epoch: EPOCH, seq: 11 });
    expect(at.pending.size).toBe(0);
  });

  test('wait where one is missing, and go on when it comes', () => {
    const events = told(TURN);
    const missing = events.splice(6, 1);
    const waiting = all(begun(), events);
    expect(waiting.cursor?.seq).toBe(6);
    expect(text(waiting)).toBe('');
    expect(text(all(waiting, missing))).toBe('Hello, world!');
  });

  test('of another epoch ask for a snapshot', () => {
    const at = all(begun(), [...told(TURN.slice(0, 7)), ...told([delta(2, 'lost')], 1, 'later')]);
    expect(at.stale).toBe(true);
    expect(text(at)).toBe('Hel');
  });
});

describe('deltas', () => {
  const opened = () => all(begun(), told(TURN.slice(0, 7)));

  test('that were applied already are ignored', () => {
    expect(text(all(opened(), told([delta(1, 'Hel'), delta(2, 'lo')], 8)))).toBe('Hello');
  });

  test('with a number left out ask for a snapshot', () => {
    const at = all(opened(), told([delta(3, 'world')], 8));
    expect(at.stale).toBe(true);
    expect(text(at)).toBe('Hel');
  });

  test('of a complete message are ignored', () => {
    const at = all(begun(), [...told(TURN.slice(0, 10)), ...told([delta(4, '!!!')], 11)]);
    expect(text(at)).toBe('Hello, world!');
  });

  test('of several messages at once keep apart', () => {
    const at = all(opened(), told([{ type: 'message.created', message: message('other', { position: 1 }) }, delta(1, 'x', 'other'), delta(2, 'lo'), delta(2, 'y', 'other')], 8));
    expect([text(at), text(at, 'other')]).toEqual(['Hello', 'xy']);
    expect(at.messages.get('answer')?.map((one) => one.id)).toEqual(['m', 'other']);
  });
});

test('what a completed message says replaces what was put together', () => {
  const at = all(begun(), told([...TURN.slice(0, 8), { type: 'message.completed', message: message('m', { content: 'Other words', status: 'complete' }) }]));
  expect(text(at)).toBe('Other words');
});

describe('an attempt that was lost', () => {
  const retried: Loose = { type: 'run.retried', attempt: 2, run: run({ status: 'queued', attempt: 1 }), discarded: ['m'] };

  test('takes its words with it', () => {
    const at = all(begun(), told([...TURN.slice(0, 8), retried]));
    expect(at.messages.get('answer')).toEqual([]);
    expect(at.streaming.size).toBe(0);
    expect(at.runs.get('run')?.status).toBe('queued');
    expect(at.nodes.get('answer')?.preview).toBe('');
  });

  test('takes its steps with it', () => {
    const first = run({ status: 'running', attempt: 1 });
    const second = run({ status: 'running', attempt: 2 });
    const lost = begun({ runs: [first], steps: { run: 5 } });
    expect(stepCount(lost, first)).toBe(5);
    const at = all(lost, told([{ ...retried, discarded: [] }, { type: 'run.started', run: second }, { type: 'run.step', attempt: 2, description: 'Again' }]));
    expect(stepCount(at, second)).toBe(1);
    expect(stepCount(reduce(lost, { type: 'snapshot', snapshot: snapshot({ runs: [second] }) }), second)).toBe(0);
  });

  test('does not set back the next one, which a snapshot has shown', () => {
    const next = begun({
      cursor: `${EPOCH}:8`,
      open: [{ message: message('m2', { content: 'Again' }), n: 1 }],
      runs: [run({ status: 'running', attempt: 2 })],
      states: WAY,
    });
    const at = all(next, told([retried], 9));
    expect(at.runs.get('run')).toMatchObject({ status: 'running', attempt: 2 });
    expect(text(at, 'm2')).toBe('Again');
  });
});

describe('a run', () => {
  test('that has ended does not go back', () => {
    const at = all(begun(), [...told(TURN), ...told([{ type: 'run.started', run: run({ status: 'running', attempt: 1 }) }], 12)]);
    expect(at.runs.get('run')?.status).toBe('success');
  });

  test('waits for an answer, is queued with it, and goes on', () => {
    const asked = all(begun(), told([...TURN.slice(0, 4), { type: 'run.waiting', confirmation: { id: 'c', prompt: 'Shall I?', options: ['yes'] } }]));
    expect(asked.runs.get('run')).toMatchObject({ status: 'waiting', confirmation: { prompt: 'Shall I?' } });
    const answered = all(asked, told([{ type: 'run.queued', run: run({ attempt: 1 }) }], 6));
    expect(answered.runs.get('run')?.status).toBe('queued');
    const on = all(answered, told([{ type: 'run.started', run: run({ status: 'running', attempt: 2 }) }], 7));
    expect(on.runs.get('run')).toMatchObject({ status: 'running', attempt: 2 });
  });

  test('closes what was still being written', () => {
    const at = all(begun(), told([...TURN.slice(0, 8), { type: 'run.completed', status: 'cancelled', error: null, usage: null, output_state_id: 'answer' }]));
    expect(at.streaming.size).toBe(0);
    expect(text(at)).toBe('Hello, ');
  });
});

describe('another branch', () => {
  const thought = message('r', { channel: 'reasoning', content: 'Hm', status: 'complete' });

  test('that is being filled is whole after a snapshot', () => {
    const running = run({ status: 'running', attempt: 1 });
    const open = [{ message: message('m', { position: 1, content: 'Hel' }), n: 1 }];
    const at = begun({ cursor: `${EPOCH}:8`, other_branches: [thought], open, runs: [running] });
    expect(at.messages.get('answer')?.map((one) => one.content)).toEqual(['Hm', 'Hel']);
    expect(text(all(at, told([delta(2, 'lo')], 9)))).toBe('Hello');
  });

  test('in which nothing is said yet is here, and grows', () => {
    const at = begun({ runs: [run({ status: 'waiting', attempt: 1 })] });
    expect(at.messages.get('answer')).toEqual([]);
    expect(text(all(at, told(TURN.slice(5, 8))))).toBe('Hello, ');
  });

  test('that is not here does not come to be by its later messages', () => {
    const later = message('m', { position: 1 });
    const at = all(begun(), told([
      { type: 'message.created', message: later },
      delta(1, 'Hello'),
      { type: 'message.completed', message: { ...later, content: 'Hello', status: 'complete' } },
    ]));
    expect(at.messages.has('answer')).toBe(false);
    expect([at.streaming.size, at.stale]).toEqual([0, false]);
  });
});

describe('a reset', () => {
  test('holds events back until the snapshot, which begins the new epoch', () => {
    const reset = reduce(all(begun(), told(TURN.slice(0, 7))), { type: 'reset' });
    const later = all(reset, told([delta(3, 'world')], 2, 'later'));
    expect(text(later)).toBe('Hel');
    const at = reduce(later, {
      type: 'snapshot',
      snapshot: snapshot({
        cursor: 'later:1',
        open: [{ message: message('m', { content: 'Hello, ' }), n: 2 }],
        runs: [run({ status: 'running', attempt: 1 })],
        states: WAY,
      }),
    });
    expect(at.stale).toBe(false);
    expect(text(at)).toBe('Hello, world');
  });

  test('forgets a run that ended meanwhile, and keeps what can change no more', () => {
    const before = all(begun({ runs: [run({ id: 'elsewhere', status: 'running', attempt: 1, output_state_id: 'other' })] }), told(TURN));
    const at = reduce(before, { type: 'snapshot', snapshot: snapshot({ cursor: 'later:0' }) });
    expect(at.runs.has('elsewhere')).toBe(false);
    expect(at.runs.get('run')?.status).toBe('success');
    expect(text(at)).toBe('Hello, world!');
  });
});

describe('history', () => {
  const history = (items: Message[], next: string | null, states: string[]): Action => ({
    type: 'history',
    history: { items, next, states: Object.fromEntries(states.map((id) => [id, place()])) },
  });

  test('is put before what is there, and says where it was cut', () => {
    const newest = reduce(begun(), history([message('b', { state_id: 's2', position: 1, status: 'complete' })], 'cursor', ['s3', 's2']));
    expect(newest.olderCursors.get('s2')).toBe('cursor');
    expect(newest.nodes.get('s2')?.parentId).toBeUndefined();
    const whole = reduce(newest, history([message('a', { state_id: 's2', position: 0, status: 'complete' })], null, ['s2', 's1']));
    expect(whole.messages.get('s2')?.map((one) => one.id)).toEqual(['a', 'b']);
    expect(whole.olderCursors.size).toBe(0);
    expect(whole.nodes.get('s2')?.parentId).toBe('s1');
    expect(whole.nodes.get('s1')?.parentId).toBeNull();
  });

  test('does not put an older text over one that is being written', () => {
    const writing = all(begun(), told(TURN.slice(0, 8)));
    const at = reduce(writing, history([message('m', { content: 'Hel' })], null, ['answer', 'question', 'root']));
    expect(text(at)).toBe('Hello, ');
  });
});
