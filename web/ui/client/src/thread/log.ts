/**
 * How events of a thread's log change what is known of it. They may arrive in any order and twice; each
 * is applied once, in the order of the log.
 */
import type { Message, Run } from '../api/types';
import { type Cursor, type LogEvent, parseCursor } from '../live/events';
import { withEntry, withoutEntry } from './maps';
import { laterSession } from './session';
import type { ThreadState } from './state';
import { latest, withMarks, withMessage, withNode, withoutMessage, withPreview, withRun, withState, withStep } from './updates';

/** How many events may wait for one that is missing, before a snapshot is asked for instead. */
const MAX_PENDING = 5000;

/** Apply an event when its turn comes: at once, later, or never if it was applied before. */
export function receive(state: ThreadState, id: string, event: LogEvent): ThreadState {
  const position = parseCursor(id);
  if (!position) return state;
  const { cursor } = state;
  if (!cursor || state.stale) return hold(state, position, event);
  if (position.epoch !== cursor.epoch) return { ...hold(state, position, event), stale: true };
  if (position.seq <= cursor.seq) return state;
  if (position.seq > cursor.seq + 1) return hold(state, position, event);
  return drain({ ...applyEvent(state, event), cursor: position });
}

/** Keep an event until those that precede it have arrived, or a snapshot was read. */
function hold(state: ThreadState, position: Cursor, event: LogEvent): ThreadState {
  if (state.pending.size >= MAX_PENDING) return { ...state, pending: new Map(), stale: true };
  return { ...state, pending: withEntry(state.pending, `${position.epoch}:${position.seq}`, event) };
}

/** Apply the pending events whose turn it is now. */
export function drain(state: ThreadState): ThreadState {
  while (state.cursor && state.pending.size) {
    const { epoch, seq } = state.cursor;
    const key = `${epoch}:${seq + 1}`;
    const next = state.pending.get(key);
    if (!next) break;
    state = { ...applyEvent(state, next), cursor: { epoch, seq: seq + 1 }, pending: withoutEntry(state.pending, key) };
  }
  return state;
}

function applyEvent(state: ThreadState, event: LogEvent): ThreadState {
  switch (event.type) {
    case 'thread.updated':
      return { ...state, thread: latest(state.thread, event.thread) };
    case 'thread.deleted':
      return { ...state, deleted: true };
    case 'session.updated':
      return { ...state, session: laterSession(state.session, event.session) };
    case 'state.created':
      return withState(state, event.state);
    case 'state.updated':
      return withMarks(state, event.state);
    case 'run.queued':
    case 'run.started':
      return withRun(state, event.run);
    case 'run.retried': {
      const queued: Run = { ...event.run, status: 'queued', attempt: event.attempt - 1 };
      return withRun(event.discarded.reduce(withoutMessage, state), queued);
    }
    case 'run.step':
      return withStep(state, event.run_id ?? '', { description: event.description, at: event.at, attempt: event.attempt });
    case 'run.message_delivered':
      return state; // the message itself has come before
    case 'run.child': {
      const run = state.runs.get(event.run_id ?? '');
      return run ? withRun(state, { ...run, has_children: true }) : state;
    }
    case 'run.waiting': {
      const run = state.runs.get(event.run_id ?? '');
      return run ? withRun(state, { ...run, status: 'waiting', attempt: event.attempt, confirmation: { ...event.confirmation } }) : state;
    }
    case 'run.completed':
      return completeRun(state, event);
    case 'message.created':
      return openMessage(state, event.message);
    case 'message.delta':
      return appendDelta(state, event);
    case 'message.completed':
      return completeMessage(state, event.message);
  }
}

function completeRun(state: ThreadState, event: LogEvent & { type: 'run.completed' }): ThreadState {
  const run = state.runs.get(event.run_id ?? '');
  const node = state.nodes.get(event.output_state_id);
  if (node) state = withNode(state, { ...node, runStatus: event.status });
  const unfinished = state.messages.get(event.output_state_id)?.filter((message) => state.streaming.has(message.id)) ?? [];
  for (const message of unfinished) state = { ...state, streaming: withoutEntry(state.streaming, message.id) };
  if (!run) return state;
  const { status, error, usage } = event;
  return withRun(state, { ...run, status, error, usage, attempt: event.attempt, finished_at: run.finished_at ?? event.at });
}

function openMessage(state: ThreadState, message: Message): ThreadState {
  const known = state.messages.get(message.state_id)?.some((other) => other.id === message.id);
  if (known || !hasPredecessors(state, message)) return state;
  return withMessage({ ...state, streaming: withEntry(state.streaming, message.id, 0) }, message);
}

function completeMessage(state: ThreadState, message: Message): ThreadState {
  return hasPredecessors(state, message) ? withMessage({ ...state, streaming: withoutEntry(state.streaming, message.id) }, message) : state;
}

/** Whether the messages before this one are known. If not, it is loaded later with the rest of its state. */
function hasPredecessors(state: ThreadState, message: Message): boolean {
  return message.position === 0 || state.messages.has(message.state_id);
}

function appendDelta(state: ThreadState, { message_id, state_id, n, text }: LogEvent & { type: 'message.delta' }): ThreadState {
  const applied = state.streaming.get(message_id);
  if (applied === undefined || n <= applied) return state;
  if (n > applied + 1) return { ...state, stale: true };
  const known = state.messages.get(state_id ?? '') ?? [];
  const grown = known.map((message) => (message.id === message_id ? { ...message, content: message.content + text } : message));
  const messages = withEntry(state.messages, state_id ?? '', grown);
  return withPreview({ ...state, messages, streaming: withEntry(state.streaming, message_id, n) }, state_id ?? '');
}
