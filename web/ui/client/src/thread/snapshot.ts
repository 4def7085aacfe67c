/** How what is read from the server changes what is known of a thread: snapshots, histories and pages of the tree. */
import { ACTIVE_STATUSES, type History, type Message, type RunStatus, type SiblingInfo, type Snapshot, type TreeNode } from '../api/types';
import { parseCursor } from '../live/events';
import { laterSession } from './session';
import { placeholderNode, type ThreadState } from './state';
import { addChildren, mergeMessage, withPreview, withRun, withRunStatus, withStepCounts } from './updates';

/** Begin anew at the snapshot's cursor; messages that cannot change any more are kept, and so are later events. */
export function applySnapshot(state: ThreadState, snapshot: Snapshot): ThreadState {
  const streaming = new Map(snapshot.open.map(({ message, n }) => [message.id, n]));
  const final = [...state.messages].filter(([id, messages]) => isFinal(state, id, messages));
  // The snapshot has all messages of states whose runs are active, on every branch.
  const active = snapshot.runs.filter((run) => ACTIVE_STATUSES.has(run.status)).map((run) => [run.output_state_id, []] as const);
  const known = new Set(snapshot.runs.map((run) => run.id));
  // A run that is active here and that the snapshot does not have ended meanwhile.
  const runs = new Map([...state.runs].filter(([id, run]) => known.has(id) || !ACTIVE_STATUSES.has(run.status)));
  for (const run of snapshot.runs) runs.set(run.id, run);
  let next: ThreadState = {
    ...state,
    cursor: parseCursor(snapshot.cursor),
    stale: false,
    session: laterSession(state.session, snapshot.session),
    messages: new Map([...active, ...final]),
    streaming,
    runs,
    stepCounts: withStepCounts(state.stepCounts, snapshot.runs, snapshot.steps),
  };
  const items = [...snapshot.messages, ...snapshot.other_branches, ...snapshot.open.map(({ message }) => message)];
  next = applyHistory(next, { items, next: snapshot.next, states: snapshot.states });
  for (const run of snapshot.runs) next = withRunStatus(next, run);
  const { cursor } = next;
  const later = [...next.pending].filter(([key]) => {
    const position = parseCursor(key);
    return position && cursor && position.epoch === cursor.epoch && position.seq > cursor.seq;
  });
  return { ...next, pending: new Map(later) };
}

/** Whether the messages of a state cannot change any more. */
function isFinal(state: ThreadState, id: string, messages: readonly Message[]): boolean {
  const node = state.nodes.get(id);
  const status = (node?.runId && state.runs.get(node.runId)?.status) ?? node?.runStatus ?? null;
  return !(status && ACTIVE_STATUSES.has(status)) && !messages.some((message) => state.streaming.has(message.id));
}

/** Add the messages of a path, which is read from its end. */
export function applyHistory(state: ThreadState, { items, next, states, runs, steps }: History): ThreadState {
  const path = Object.keys(states);
  const nodes = new Map(state.nodes);
  const children = new Map(state.children);
  const messages = new Map(state.messages);
  const olderCursors = new Map(state.olderCursors);
  path.forEach((id, index) => {
    const parentId = path[index + 1] ?? (next ? undefined : null);
    const known = nodes.get(id);
    if (!known || (known.parentId === undefined && parentId !== undefined)) {
      nodes.set(id, { ...(known ?? placeholderNode(id)), parentId, ordinal: states[id]?.ordinal ?? 0 });
    }
    if (parentId) addChildren(children, nodes, parentId, [id, ...siblingIds(states[id])]);
    if (!messages.has(id)) messages.set(id, []);
    olderCursors.delete(id);
  });
  for (const message of items) {
    const loaded = messages.get(message.state_id) ?? [];
    messages.set(message.state_id, mergeMessage(loaded, message, state.streaming.has(message.id)));
  }
  const top = path.at(-1);
  if (top && next) olderCursors.set(top, next);
  let result: ThreadState = { ...state, nodes, children, messages, olderCursors };
  for (const id of path) result = withPreview(result, id);
  result = { ...result, stepCounts: withStepCounts(result.stepCounts, runs, steps) };
  return (runs ?? []).reduce(withRun, result);
}

function siblingIds(info: SiblingInfo | undefined): string[] {
  return [info?.previous_id, info?.next_id].filter((id): id is string => !!id);
}

/** Add a page of the tree; `last` says that no other page follows. */
export function applyTree(state: ThreadState, items: TreeNode[], last: boolean): ThreadState {
  const nodes = new Map(state.nodes);
  const children = new Map(state.children);
  const childrenOf = new Map<string, string[]>();
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
    if (item.parent_id) childrenOf.set(item.parent_id, [...(childrenOf.get(item.parent_id) ?? []), item.id]);
  }
  for (const [parentId, ids] of childrenOf) addChildren(children, nodes, parentId, ids);
  const next: ThreadState = { ...state, nodes, children, treeLoaded: state.treeLoaded || last };
  // The database does not have what is being written yet, so the tree's previews lack it.
  return items.filter(({ preview, id }) => !preview && state.messages.get(id)?.length).reduce((state, { id }) => withPreview(state, id), next);
}
