/** What is known of a thread, as its events and what was read of it make it. */
import type { Message, Run, RunStatus, Session, Thread } from '../api/types';
import type { Cursor, LogEvent } from '../live/events';

/** A state as the tree shows it. */
export interface Node {
  id: string;
  /** null for the root; undefined as long as it is not known. */
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
  readonly deleted: boolean;
  /** The session of the thread; null if it has none, or before the first snapshot. */
  readonly session: Session | null;
  /** Everything up to here is applied; null before the first snapshot. */
  readonly cursor: Cursor | null;
  /** Whether the log cannot be followed from the cursor, so that a snapshot is needed. */
  readonly stale: boolean;
  /** Events that arrived before those that precede them, by `<epoch>:<seq>`. */
  readonly pending: ReadonlyMap<string, LogEvent>;
  readonly nodes: ReadonlyMap<string, Node>;
  readonly children: ReadonlyMap<string, readonly string[]>;
  /** Whether the whole tree was read; until then some nodes are missing. */
  readonly treeLoaded: boolean;
  /** The messages of each state that was loaded, in order. */
  readonly messages: ReadonlyMap<string, readonly Message[]>;
  /** For states of which only the last messages were loaded: the cursor to read the others with. */
  readonly olderCursors: ReadonlyMap<string, string>;
  /** For messages that are being written: the number of the last delta that was applied. */
  readonly streaming: ReadonlyMap<string, number>;
  readonly runs: ReadonlyMap<string, Run>;
  /** The steps that runs reported while we followed the log. */
  readonly steps: ReadonlyMap<string, readonly Step[]>;
  /** How many steps an attempt had reported when its run was read, by `<run>:<attempt>`. */
  readonly stepCounts: ReadonlyMap<string, number>;
}

export function emptyThread(threadId: string): ThreadState {
  return {
    threadId,
    thread: null,
    deleted: false,
    session: null,
    cursor: null,
    stale: false,
    pending: new Map(),
    nodes: new Map(),
    children: new Map(),
    treeLoaded: false,
    messages: new Map(),
    olderCursors: new Map(),
    streaming: new Map(),
    runs: new Map(),
    steps: new Map(),
    stepCounts: new Map(),
  };
}

export function placeholderNode(id: string): Node {
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
