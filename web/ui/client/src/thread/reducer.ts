/**
 * What is known of the thread that is being watched, and how it follows from events.
 *
 * Everything here is pure. Events may arrive in any order, twice, or before the snapshot:
 * each is applied once, in the order of the log. What the log does not follow on is `stale`,
 * until a snapshot is taken.
 */
import {
  type Accepted,
  type History,
  type Message,
  type Place,
  type Run,
  type RunStatus,
  type Snapshot,
  type State,
  type Thread,
  type TreeNode,
  UNDER_WAY,
} from '../api/types';
import { type Cursor, type LogEvent, readCursor } from '../live/events';

/** A state as the tree shows it. */
export interface Node {
  id: string;
  /** null: the root. undefined: not known yet. */
  parentId: string | null | undefined;
  ordinal: number;
  preview: string;
  author: string;
  runId: string | null;
  runStatus: RunStatus | null;
  workerId: string | null;
  label: string | null;
  starred: boolean;
  createdAt: string;
}

export interface Step {
  description: string;
  at: string;
  attempt: number;
}

export interface ThreadState {
  readonly threadId: string;
  readonly thread: Thread | null;
  readonly gone: boolean;
  /** Everything up to here is applied; null before the first snapshot. */
  readonly cursor: Cursor | null;
  /** Whether the log cannot be followed from here: a snapshot is needed. */
  readonly stale: boolean;
  /** Events that came too early, by epoch and number. */
  readonly early: ReadonlyMap<string, LogEvent>;
  readonly nodes: ReadonlyMap<string, Node>;
  readonly children: ReadonlyMap<string, readonly string[]>;
  /** Whether all nodes of the tree are here. */
  readonly whole: boolean;
  /** By state, in order. Only states that are here have been loaded. */
  readonly messages: ReadonlyMap<string, readonly Message[]>;
  /** States of which only the last messages are here, and the cursor that leads to the others. */
  readonly cut: ReadonlyMap<string, string>;
  /** Messages that are being written: the number of the last delta that was applied. */
  readonly open: ReadonlyMap<string, number>;
  readonly runs: ReadonlyMap<string, Run>;
  /** What runs under way say they do. */
  readonly steps: ReadonlyMap<string, readonly Step[]>;
  /** How many steps attempts had told of when they were read, by run and attempt. */
  readonly stepCounts: ReadonlyMap<string, number>;
}

export function nothingYet(threadId: string): ThreadState {
  return {
    threadId,
    thread: null,
    gone: false,
    cursor: null,
    stale: false,
    early: new Map(),
    nodes: new Map(),
    children: new Map(),
    whole: false,
    messages: new Map(),
    cut: new Map(),
    open: new Map(),
    runs: new Map(),
    steps: new Map(),
    stepCounts: new Map(),
  };
}

export type Action =
  | { type: 'event'; id: string; event: LogEvent }
  | { type: 'reset' }
  | { type: 'snapshot'; snapshot: Snapshot }
  | { type: 'thread'; thread: Thread }
  | { type: 'tree'; items: TreeNode[]; last: boolean }
  | { type: 'history'; history: History }
  | { type: 'accepted'; accepted: Accepted }
  | { type: 'state'; state: State }
  | { type: 'run'; run: Run }
  | { type: 'gone' };

const MOST_EARLY = 5000;

export function reduce(state: ThreadState, action: Action): ThreadState {
  switch (action.type) {
    case 'event':
      return receive(state, action.id, action.event);
    case 'reset':
      return { ...state, stale: true };
    case 'snapshot':
      return takeSnapshot(state, action.snapshot);
    case 'thread':
      return { ...state, thread: newer(state.thread, action.thread) };
    case 'tree':
      return takeTree(state, action.items, action.last);
    case 'history':
      return takeHistory(state, action.history);
    case 'accepted': {
      const { runs, states, input_state } = action.accepted;
      return runs.reduce(withRun, [input_state, ...states].reduce(withState, state));
    }
    case 'state':
      return withState(state, action.state);
    case 'run':
      return withRun(state, action.run);
    case 'gone':
      return { ...state, gone: true };
  }
}

// ── events ──────────────────────────────────────────────────────────────────

function receive(state: ThreadState, id: string, event: LogEvent): ThreadState {
  const place = readCursor(id);
  if (!place) return state;
  const { cursor } = state;
  if (!cursor || state.stale) return early(state, place, event);
  if (place.epoch !== cursor.epoch) return { ...early(state, place, event), stale: true };
  if (place.seq <= cursor.seq) return state;
  if (place.seq > cursor.seq + 1) return early(state, place, event);
  return drain({ ...apply(state, event), cursor: place });
}

function early(state: ThreadState, place: Cursor, event: LogEvent): ThreadState {
  if (state.early.size >= MOST_EARLY) return { ...state, early: new Map(), stale: true };
  return { ...state, early: put(state.early, `${place.epoch}:${place.seq}`, event) };
}

/** Apply what came too early and follows now. */
function drain(state: ThreadState): ThreadState {
  while (state.cursor && state.early.size) {
    const { epoch, seq } = state.cursor;
    const key = `${epoch}:${seq + 1}`;
    const next = state.early.get(key);
    if (!next) break;
    state = { ...apply(state, next), cursor: { epoch, seq: seq + 1 }, early: without(state.early, key) };
  }
  return state;
}

function apply(state: ThreadState, event: LogEvent): ThreadState {
  switch (event.type) {
    case 'thread.updated':
      return { ...state, thread: newer(state.thread, event.thread) };
    case 'thread.deleted':
      return { ...state, gone: true };
    case 'state.created':
      return withState(state, event.state);
    case 'state.updated':
      return marked(state, event.state);
    case 'run.queued':
    case 'run.started':
      return withRun(state, event.run);
    case 'run.retried': {
      const queued: Run = { ...event.run, status: 'queued', attempt: event.attempt - 1 };
      return withRun(event.discarded.reduce(withoutMessage, state), queued);
    }
    case 'run.step':
      return withStep(state, event.run_id ?? '', { description: event.description, at: event.at, attempt: event.attempt });
    case 'run.waiting': {
      const run = state.runs.get(event.run_id ?? '');
      const asked = { ...event.confirmation };
      return run ? withRun(state, { ...run, status: 'waiting', attempt: event.attempt, confirmation: asked }) : state;
    }
    case 'run.completed':
      return ended(state, event);
    case 'message.created':
      return opened(state, event.message);
    case 'message.delta':
      return grown(state, event);
    case 'message.completed':
      return completed(state, event.message);
  }
}

function ended(state: ThreadState, event: LogEvent & { type: 'run.completed' }): ThreadState {
  const run = state.runs.get(event.run_id ?? '');
  const node = state.nodes.get(event.output_state_id);
  if (node) state = withNode(state, { ...node, runStatus: event.status });
  const left = state.messages.get(event.output_state_id)?.filter((message) => state.open.has(message.id)) ?? [];
  for (const message of left) state = { ...state, open: without(state.open, message.id) };
  if (!run) return state;
  const { status, error, usage } = event;
  return withRun(state, { ...run, status, error, usage, attempt: event.attempt, finished_at: run.finished_at ?? event.at });
}

function opened(state: ThreadState, message: Message): ThreadState {
  const known = state.messages.get(message.state_id)?.some((one) => one.id === message.id);
  if (known || !follows(state, message)) return state;
  return withMessage({ ...state, open: put(state.open, message.id, 0) }, message);
}

function completed(state: ThreadState, message: Message): ThreadState {
  return follows(state, message) ? withMessage({ ...state, open: without(state.open, message.id) }, message) : state;
}

/** Whether what comes before a message is here. If not, it is loaded with the rest of its state. */
function follows(state: ThreadState, message: Message): boolean {
  return message.position === 0 || state.messages.has(message.state_id);
}

function grown(state: ThreadState, { message_id, state_id, n, text }: LogEvent & { type: 'message.delta' }): ThreadState {
  const have = state.open.get(message_id);
  if (have === undefined || n <= have) return state;
  if (n > have + 1) return { ...state, stale: true };
  const said = state.messages.get(state_id ?? '') ?? [];
  const more = said.map((message) => (message.id === message_id ? { ...message, content: message.content + text } : message));
  const messages = put(state.messages, state_id ?? '', more);
  return previewed({ ...state, messages, open: put(state.open, message_id, n) }, state_id ?? '');
}

// ── what is read ────────────────────────────────────────────────────────────

function takeSnapshot(state: ThreadState, snapshot: Snapshot): ThreadState {
  const written = new Map(snapshot.open.map(({ message, n }) => [message.id, n]));
  const settled = [...state.messages].filter(([id, said]) => isSettled(state, id, said));
  // The snapshot has all that is said in states that are being filled, on the way and beside it.
  const filled = snapshot.runs.filter((run) => UNDER_WAY.has(run.status)).map((run) => [run.output_state_id, []] as const);
  const known = new Set(snapshot.runs.map((run) => run.id));
  // A run that we hold as being under way and that the snapshot does not know has ended meanwhile.
  const runs = new Map([...state.runs].filter(([id, run]) => known.has(id) || !UNDER_WAY.has(run.status)));
  for (const run of snapshot.runs) runs.set(run.id, run);
  let next: ThreadState = {
    ...state,
    cursor: readCursor(snapshot.cursor),
    stale: false,
    messages: new Map([...filled, ...settled]),
    open: written,
    runs,
    stepCounts: counted(state.stepCounts, snapshot.runs, snapshot.steps),
  };
  const said = [...snapshot.messages, ...snapshot.other_branches, ...snapshot.open.map(({ message }) => message)];
  next = takeHistory(next, { items: said, next: snapshot.next, states: snapshot.states });
  for (const run of snapshot.runs) next = statusShown(next, run);
  const { cursor } = next;
  const still = [...next.early].filter(([key]) => {
    const place = readCursor(key);
    return place && cursor && place.epoch === cursor.epoch && place.seq > cursor.seq;
  });
  return drain({ ...next, early: new Map(still) });
}

/** Whether a state's messages can change no more. */
function isSettled(state: ThreadState, id: string, said: readonly Message[]): boolean {
  const node = state.nodes.get(id);
  const status = (node?.runId && state.runs.get(node.runId)?.status) ?? node?.runStatus ?? null;
  return !(status && UNDER_WAY.has(status)) && !said.some((message) => state.open.has(message.id));
}

function takeHistory(state: ThreadState, { items, next, states, runs, steps }: History): ThreadState {
  const way = Object.keys(states);
  const nodes = new Map(state.nodes);
  const children = new Map(state.children);
  const messages = new Map(state.messages);
  const cut = new Map(state.cut);
  way.forEach((id, index) => {
    const parentId = way[index + 1] ?? (next ? undefined : null);
    const known = nodes.get(id);
    if (!known || (known.parentId === undefined && parentId !== undefined)) {
      nodes.set(id, { ...(known ?? unknownNode(id)), parentId, ordinal: states[id]?.ordinal ?? 0 });
    }
    if (parentId) addChildren(children, nodes, parentId, [id, ...neighbours(states[id])]);
    if (!messages.has(id)) messages.set(id, []);
    cut.delete(id);
  });
  for (const message of items) {
    const said = messages.get(message.state_id) ?? [];
    messages.set(message.state_id, merged(said, message, state.open.has(message.id)));
  }
  const top = way.at(-1);
  if (top && next) cut.set(top, next);
  let result: ThreadState = { ...state, nodes, children, messages, cut };
  for (const id of way) result = previewed(result, id);
  result = { ...result, stepCounts: counted(result.stepCounts, runs, steps) };
  return (runs ?? []).reduce(withRun, result);
}

function counted(known: ReadonlyMap<string, number>, runs: readonly Run[] = [], told: Record<string, number> = {}): ReadonlyMap<string, number> {
  return new Map([...known, ...runs.map((run) => [attemptOf(run), told[run.id] ?? 0] as const)]);
}

function attemptOf(run: Run): string {
  return `${run.id}:${run.attempt}`;
}

/** How many steps the last attempt of a run has told of, as far as is known. */
export function stepCount(state: ThreadState, run: Run): number {
  const heard = (state.steps.get(run.id) ?? []).filter((step) => step.attempt === run.attempt).length;
  return Math.max(heard, state.stepCounts.get(attemptOf(run)) ?? 0);
}

function neighbours(place: Place | undefined): string[] {
  return [place?.previous_id, place?.next_id].filter((id): id is string => !!id);
}

function takeTree(state: ThreadState, items: TreeNode[], last: boolean): ThreadState {
  const nodes = new Map(state.nodes);
  const children = new Map(state.children);
  const families = new Map<string, string[]>();
  for (const item of items) {
    const known = nodes.get(item.id);
    nodes.set(item.id, {
      id: item.id,
      parentId: item.parent_id,
      ordinal: item.ordinal,
      preview: item.preview || known?.preview || '',
      author: item.author ?? known?.author ?? '',
      runId: item.run_id,
      runStatus: item.run_status as RunStatus | null,
      workerId: item.worker_id,
      label: item.label,
      starred: item.starred,
      createdAt: item.created_at,
    });
    if (item.parent_id) families.set(item.parent_id, [...(families.get(item.parent_id) ?? []), item.id]);
  }
  for (const [parentId, ids] of families) addChildren(children, nodes, parentId, ids);
  const next: ThreadState = { ...state, nodes, children, whole: state.whole || last };
  // What is being written is not in the database yet, and so not in the tree that was read.
  return items.filter(({ preview, id }) => !preview && state.messages.get(id)?.length).reduce((at, { id }) => previewed(at, id), next);
}

// ── parts ───────────────────────────────────────────────────────────────────

function unknownNode(id: string): Node {
  return {
    id,
    parentId: undefined,
    ordinal: 0,
    preview: '',
    author: '',
    runId: null,
    runStatus: null,
    workerId: null,
    label: null,
    starred: false,
    createdAt: '',
  };
}

function withState(state: ThreadState, made: State): ThreadState {
  const known = state.nodes.get(made.id);
  const node: Node = {
    ...(known ?? unknownNode(made.id)),
    parentId: made.parent_id,
    ordinal: made.ordinal,
    runId: made.run_id,
    label: made.label,
    starred: made.starred,
    createdAt: made.created_at,
  };
  const nodes = put(state.nodes, made.id, node);
  const children = new Map(state.children);
  if (made.parent_id) addChildren(children, nodes, made.parent_id, [made.id]);
  const messages = new Map(state.messages);
  // A new state is here whole, by what comes with it or by what its run will write.
  if (!messages.has(made.id) && (made.messages || (made.run_id && !known))) messages.set(made.id, []);
  let next: ThreadState = { ...state, nodes, children, messages };
  for (const message of made.messages ?? []) next = withMessage(next, message);
  return next;
}

function addChildren(
  children: Map<string, readonly string[]>,
  nodes: ReadonlyMap<string, Node>,
  parentId: string,
  added: readonly string[],
): void {
  const known = children.get(parentId) ?? [];
  const all = [...new Set([...known, ...added])];
  if (all.length === known.length) return;
  // Ids sort by their time of creation, as ordinals do; a neighbour may be known by its id only.
  all.sort((a, b) => (nodes.get(a)?.ordinal ?? 0) - (nodes.get(b)?.ordinal ?? 0) || (a < b ? -1 : 1));
  children.set(parentId, all.every((id) => nodes.has(id)) ? all : all.sort());
}

/** How far a run has come; what says less than what is known is old. */
function progress(run: Pick<Run, 'status' | 'attempt'>): number {
  if (!UNDER_WAY.has(run.status)) return Infinity;
  return run.attempt * 4 + (run.status === 'running' ? 1 : run.status === 'waiting' ? 2 : 3);
}

function withRun(state: ThreadState, run: Run): ThreadState {
  const known = state.runs.get(run.id);
  if (known && progress(run) < progress(known)) return state;
  const node = state.nodes.get(run.output_state_id);
  if (!known && node?.runStatus && !UNDER_WAY.has(node.runStatus) && UNDER_WAY.has(run.status)) return state;
  return statusShown({ ...state, runs: put(state.runs, run.id, { ...known, ...run }) }, run);
}

function statusShown(state: ThreadState, run: Run): ThreadState {
  const node = state.nodes.get(run.output_state_id);
  if (!node || (node.runStatus === run.status && node.runId === run.id && node.workerId === run.worker_id)) return state;
  return withNode(state, { ...node, runId: run.id, runStatus: run.status, workerId: run.worker_id });
}

/** A name or a star says nothing else of a state; one that is not here yet is read with the tree. */
function marked(state: ThreadState, { id, label, starred }: State): ThreadState {
  const node = state.nodes.get(id);
  return node ? withNode(state, { ...node, label, starred }) : state;
}

function withNode(state: ThreadState, node: Node): ThreadState {
  return { ...state, nodes: put(state.nodes, node.id, node) };
}

function withMessage(state: ThreadState, message: Message): ThreadState {
  const said = state.messages.get(message.state_id) ?? [];
  const messages = put(state.messages, message.state_id, merged(said, message, false));
  return previewed({ ...state, messages }, message.state_id);
}

function withoutMessage(state: ThreadState, id: string): ThreadState {
  for (const [stateId, said] of state.messages) {
    if (!said.some((message) => message.id === id)) continue;
    const messages = put(state.messages, stateId, said.filter((message) => message.id !== id));
    const node = state.nodes.get(stateId);
    const next: ThreadState = { ...state, messages, open: without(state.open, id) };
    return previewed(node ? withNode(next, { ...node, preview: '' }) : next, stateId);
  }
  return state;
}

function merged(said: readonly Message[], message: Message, keepOurs: boolean): readonly Message[] {
  const index = said.findIndex((one) => one.id === message.id);
  if (index < 0) {
    const after = said.findIndex((one) => one.position > message.position);
    return after < 0 ? [...said, message] : said.toSpliced(after, 0, message);
  }
  const ours = said[index];
  if (keepOurs || (ours?.status === 'complete' && message.status === 'partial')) return said;
  return said.with(index, message);
}

const PREVIEW = 80;

/** Keep the first words of a state, which the tree shows, in step with its messages. */
function previewed(state: ThreadState, stateId: string): ThreadState {
  const node = state.nodes.get(stateId);
  if (!node || node.preview.length >= PREVIEW) return state;
  const first = state.messages.get(stateId)?.find((message) => message.content !== '');
  if (!first || state.cut.has(stateId)) return state;
  const preview = first.content.slice(0, PREVIEW);
  const author = first.author ?? first.role;
  return preview === node.preview && author === node.author ? state : withNode(state, { ...node, preview, author });
}

function withStep(state: ThreadState, runId: string, step: Step): ThreadState {
  const known = state.steps.get(runId) ?? [];
  const same = known.some((one) => one.attempt === step.attempt && one.at === step.at && one.description === step.description);
  return same ? state : { ...state, steps: put(state.steps, runId, [...known, step]) };
}

function newer(ours: Thread | null, theirs: Thread): Thread {
  return ours && ours.updated_at > theirs.updated_at ? ours : theirs;
}

function put<K, V>(map: ReadonlyMap<K, V>, key: K, value: V): Map<K, V> {
  return new Map(map).set(key, value);
}

function without<K, V>(map: ReadonlyMap<K, V>, key: K): ReadonlyMap<K, V> {
  if (!map.has(key)) return map;
  const rest = new Map(map);
  rest.delete(key);
  return rest;
}
