/** Single changes to what is known of a thread. None of them modifies its arguments. */
import { ACTIVE_STATUSES, type Message, type Run, type State, type Thread } from '../api/types';
import { withEntry, withoutEntry } from './maps';
import { type Node, placeholderNode, type Step, type ThreadState } from './state';
import { PREVIEW } from './titles';

export function withState(state: ThreadState, created: State): ThreadState {
  const known = state.nodes.get(created.id);
  const node: Node = {
    ...(known ?? placeholderNode(created.id)),
    parentId: created.parent_id,
    ordinal: created.ordinal,
    runId: created.run_id,
    label: created.label,
    starred: created.starred,
    createdAt: created.created_at,
  };
  const nodes = withEntry(state.nodes, created.id, node);
  const children = new Map(state.children);
  if (created.parent_id) addChildren(children, nodes, created.parent_id, [created.id]);
  const messages = new Map(state.messages);
  // All messages of a new state are known: they come with it, or its run will write them.
  if (!messages.has(created.id) && (created.messages || (created.run_id && !known))) messages.set(created.id, []);
  let next: ThreadState = { ...state, nodes, children, messages };
  for (const message of created.messages ?? []) next = withMessage(next, message);
  return next;
}

export function addChildren(
  children: Map<string, readonly string[]>,
  nodes: ReadonlyMap<string, Node>,
  parentId: string,
  added: readonly string[],
): void {
  const known = children.get(parentId) ?? [];
  const all = [...new Set([...known, ...added])];
  if (all.length === known.length) return;
  // Ids sort by their time of creation, as ordinals do. Of a sibling that was not loaded only the id is known.
  all.sort((a, b) => (nodes.get(a)?.ordinal ?? 0) - (nodes.get(b)?.ordinal ?? 0) || (a < b ? -1 : 1));
  children.set(parentId, all.every((id) => nodes.has(id)) ? all : all.sort());
}

/** How far a run has come: a record with less progress than the known one is outdated. */
function progress(run: Pick<Run, 'status' | 'attempt'>): number {
  if (!ACTIVE_STATUSES.has(run.status)) return Infinity;
  return run.attempt * 4 + (run.status === 'running' ? 1 : run.status === 'waiting' ? 2 : 3);
}

export function withRun(state: ThreadState, run: Run): ThreadState {
  const known = state.runs.get(run.id);
  if (known && progress(run) < progress(known)) return state;
  const node = state.nodes.get(run.output_state_id);
  if (!known && node?.runStatus && !ACTIVE_STATUSES.has(node.runStatus) && ACTIVE_STATUSES.has(run.status)) return state;
  return withRunStatus({ ...state, runs: withEntry(state.runs, run.id, { ...known, ...run }) }, run);
}

export function withRunStatus(state: ThreadState, run: Run): ThreadState {
  const node = state.nodes.get(run.output_state_id);
  if (!node || (node.runStatus === run.status && node.runId === run.id && node.workerId === run.worker_id)) return state;
  return withNode(state, { ...node, runId: run.id, runStatus: run.status, workerId: run.worker_id });
}

/** Apply a label and a star. A state that is not known yet gets them when the tree is read. */
export function withMarks(state: ThreadState, { id, label, starred }: State): ThreadState {
  const node = state.nodes.get(id);
  return node ? withNode(state, { ...node, label, starred }) : state;
}

export function withNode(state: ThreadState, node: Node): ThreadState {
  return { ...state, nodes: withEntry(state.nodes, node.id, node) };
}

export function withMessage(state: ThreadState, message: Message): ThreadState {
  const known = state.messages.get(message.state_id) ?? [];
  const messages = withEntry(state.messages, message.state_id, mergeMessage(known, message, false));
  return withPreview({ ...state, messages }, message.state_id);
}

export function withoutMessage(state: ThreadState, id: string): ThreadState {
  for (const [stateId, known] of state.messages) {
    if (!known.some((message) => message.id === id)) continue;
    const messages = withEntry(state.messages, stateId, known.filter((message) => message.id !== id));
    const node = state.nodes.get(stateId);
    const next: ThreadState = { ...state, messages, streaming: withoutEntry(state.streaming, id) };
    return withPreview(node ? withNode(next, { ...node, preview: '' }) : next, stateId);
  }
  return state;
}

/** The messages with one more, or with a newer version of it; `keepKnown` prefers the version that is known. */
export function mergeMessage(messages: readonly Message[], message: Message, keepKnown: boolean): readonly Message[] {
  const index = messages.findIndex((other) => other.id === message.id);
  if (index < 0) {
    const after = messages.findIndex((other) => other.position > message.position);
    return after < 0 ? [...messages, message] : messages.toSpliced(after, 0, message);
  }
  const known = messages[index];
  if (keepKnown || (known?.status === 'complete' && message.status === 'partial')) return messages;
  return messages.with(index, message);
}

/** Keep the first words of a state, which the tree shows, in step with its messages. */
export function withPreview(state: ThreadState, stateId: string): ThreadState {
  const node = state.nodes.get(stateId);
  if (!node) return state;
  const answer = state.messages.get(stateId)?.filter((message) => message.channel === 'answer' && message.content !== '') ?? [];
  const first = answer.find((message) => message.type === 'text') ?? answer[0];
  if (!first || state.olderCursors.has(stateId)) return state;
  const preview = first.content.slice(0, PREVIEW);
  const author = first.author ?? first.role;
  return preview === node.preview && author === node.author ? state : withNode(state, { ...node, preview, author });
}

export function withStep(state: ThreadState, runId: string, step: Step): ThreadState {
  const known = state.steps.get(runId) ?? [];
  const same = known.some((other) => other.attempt === step.attempt && other.at === step.at && other.description === step.description);
  return same ? state : { ...state, steps: withEntry(state.steps, runId, [...known, step]) };
}

export function latest(ours: Thread | null, theirs: Thread): Thread {
  return ours && ours.updated_at > theirs.updated_at ? ours : theirs;
}

export function withStepCounts(known: ReadonlyMap<string, number>, runs: readonly Run[] = [], steps: Record<string, number> = {}): ReadonlyMap<string, number> {
  return new Map([...known, ...runs.map((run) => [attemptKey(run), steps[run.id] ?? 0] as const)]);
}

function attemptKey(run: Run): string {
  return `${run.id}:${run.attempt}`;
}

/** How many steps the last attempt of a run has reported, as far as is known. */
export function stepCount(state: ThreadState, run: Run): number {
  const received = (state.steps.get(run.id) ?? []).filter((step) => step.attempt === run.attempt).length;
  return Math.max(received, state.stepCounts.get(attemptKey(run)) ?? 0);
}
