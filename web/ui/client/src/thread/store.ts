/** The thread that is being watched: what is known of it, and how it is kept up with the server. */
import { createStore } from 'zustand/vanilla';
import { api } from '../api/calls';
import { inWords, Problem } from '../api/client';
import type { Accepted, Thread } from '../api/types';
import type { LogEvent } from '../live/events';
import type { Link } from '../live/streams';
import type { Switchboard } from '../live/switchboard';
import { type Action, nothingYet, reduce, type ThreadState } from './reducer';
import { type Choices, way } from './tree';

/** How well the picture keeps up with the server. */
export type Freshness = 'loading' | 'live' | 'catching up' | 'reloaded' | 'offline';

export interface Watched {
  data: ThreadState;
  /** The end of the way that is shown; null until it is known. */
  head: string | null;
  freshness: Freshness;
  failure: string | null;
  missing: boolean;
  choices: Choices;
}

export const NO_THREAD = nothingYet('');

export const threadStore = createStore<Watched>(() => ({
  data: NO_THREAD,
  head: null,
  freshness: 'loading',
  failure: null,
  missing: false,
  choices: {},
}));

const { getState: get, setState: set } = threadStore;

export function dispatch(...actions: Action[]): void {
  const before = get().data;
  const data = actions.reduce(reduce, before);
  if (data !== before) set({ data });
}

/** Put what the server has accepted into the picture before the log tells it. */
export function takeAccepted(threadId: string, accepted: Accepted): void {
  if (get().data.threadId === threadId) dispatch({ type: 'accepted', accepted });
}

export function takeThread(thread: Thread): void {
  if (get().data.threadId === thread.id) dispatch({ type: 'thread', thread });
}

// ── choices at forks ────────────────────────────────────────────────────────

const choicesKey = (thread: string) => `branchline.choices.${thread}`;

export function rememberedChoices(thread: string): Choices {
  try {
    return JSON.parse(localStorage.getItem(choicesKey(thread)) ?? '{}') as Choices;
  } catch {
    return {};
  }
}

/** Show the way to `head`; at each fork on it, it is the choice from now on. */
export function show(head: string): void {
  const { data, choices } = get();
  const states = way(data.nodes, head);
  const chosen: Record<string, string> = { ...choices };
  states.forEach((id, index) => {
    const parent = states[index - 1];
    if (parent && (data.children.get(parent)?.length ?? 0) > 1) chosen[parent] = id;
  });
  if (head !== get().head || JSON.stringify(chosen) !== JSON.stringify(choices)) set({ head, choices: chosen });
  try {
    localStorage.setItem(choicesKey(data.threadId), JSON.stringify(chosen));
    localStorage.setItem(`branchline.head.${data.threadId}`, head);
  } catch {
    // Storage is full or forbidden: then choices last as long as the page.
  }
}

export function rememberedHead(thread: string): string | null {
  return localStorage.getItem(`branchline.head.${thread}`);
}

// ── keeping up ──────────────────────────────────────────────────────────────

const REORDER = 1000;
/** Milliseconds for which "reloaded" is shown. */
const TOLD = 4000;
const PATIENCE = 3000;

/** Watch a thread until the answer is called. */
export function watch(threadId: string, wanted: string | null, board: Switchboard): () => void {
  const keeper = new Keeper(threadId, board);
  set({
    data: nothingYet(threadId),
    head: wanted,
    freshness: 'loading',
    failure: null,
    missing: false,
    choices: rememberedChoices(threadId),
  });
  keeper.start(wanted);
  return () => keeper.stop();
}

class Keeper {
  private stopped = false;
  private frame: number | undefined;
  private readonly arrived: Action[] = [];
  private unwatch: (() => void) | null = null;
  private reading = false;
  private again = false;
  private link: Link = 'connecting';
  private told: ReturnType<typeof setTimeout> | undefined;
  private lag: ReturnType<typeof setTimeout> | undefined;
  private late: ReturnType<typeof setTimeout> | undefined;
  private retry: ReturnType<typeof setTimeout> | undefined;
  private failures = 0;
  private readonly abort = new AbortController();

  constructor(
    private readonly threadId: string,
    private readonly board: Switchboard,
  ) {}

  start(wanted: string | null): void {
    this.begin();
    document.addEventListener('visibilitychange', this.seen);
    void this.read(wanted);
  }

  stop(): void {
    this.stopped = true;
    this.abort.abort();
    document.removeEventListener('visibilitychange', this.seen);
    for (const timer of [this.told, this.lag, this.late, this.retry, this.frame]) clearTimeout(timer);
    this.unwatch?.();
  }

  private begin(): void {
    this.unwatch = this.board.watch(this.threadId, {
      after: () => {
        const { cursor } = get().data;
        return cursor ? `${cursor.epoch}:${cursor.seq}` : null;
      },
      event: (id, event) => this.receive(id, event),
      reset: () => {
        dispatch({ type: 'reset' });
        void this.read(get().head, true);
      },
      link: (link) => this.linked(link),
    });
  }

  /** A tab that nobody sees leaves its stream to others, and catches up when it is seen again. */
  private readonly seen = () => {
    if (document.hidden) {
      this.flush();
      this.unwatch?.();
      this.unwatch = null;
    } else if (!this.unwatch) {
      this.begin();
      this.board.follow(this.threadId);
    }
  };

  private receive(id: string, event: LogEvent): void {
    this.arrived.push({ type: 'event', id, event });
    this.frame ??= window.setTimeout(() => this.flush(), 16);
  }

  private flush(): void {
    clearTimeout(this.frame);
    this.frame = undefined;
    if (this.stopped) return;
    dispatch(...this.arrived.splice(0));
    const { data } = get();
    if (data.stale) void this.read(get().head, true);
    else if (data.early.size && data.cursor) {
      this.late ??= setTimeout(() => {
        this.late = undefined;
        if (!get().data.early.size || this.stopped) return;
        dispatch({ type: 'reset' });
        void this.read(get().head, true);
      }, REORDER);
    }
  }

  private linked(link: Link): void {
    this.link = link;
    if (link === 'open') {
      clearTimeout(this.lag);
      this.lag = undefined;
      if (get().freshness !== 'reloaded') this.tell('live');
    } else if (get().freshness !== 'loading') this.lagging();
  }

  /** It may be nothing; if it lasts, one is offline. */
  private lagging(): void {
    if (this.lag) return;
    this.tell(navigator.onLine ? 'catching up' : 'offline');
    this.lag = setTimeout(() => set({ freshness: 'offline' }), PATIENCE);
  }

  private tell(freshness: Freshness): void {
    clearTimeout(this.told);
    set({ freshness });
  }

  /** Take a snapshot, follow the log from there, and read the tree. */
  private async read(wanted: string | null, reset = false): Promise<void> {
    if (this.reading) {
      this.again = true;
      return;
    }
    this.reading = true;
    clearTimeout(this.retry);
    if (reset && get().data.cursor) this.tell('catching up');
    try {
      await this.readOnce(wanted, reset);
      this.failures = 0;
    } catch (error) {
      this.failed(error, wanted, reset);
    } finally {
      this.reading = false;
    }
    const again = this.again && get().data.stale && !this.stopped;
    this.again = false;
    if (again) void this.read(get().head, true);
  }

  private async readOnce(wanted: string | null, reset: boolean): Promise<void> {
    const [thread, snapshot] = await Promise.all([
      api.thread(this.threadId),
      api.snapshot(this.threadId, wanted).catch((error: unknown) => {
        if (error instanceof Problem && error.status === 404 && wanted && !reset) return api.snapshot(this.threadId, null);
        throw error;
      }),
    ]);
    if (this.stopped) return;
    dispatch({ type: 'thread', thread }, { type: 'snapshot', snapshot });
    const shown = get().head;
    const head = shown && get().data.nodes.has(shown) ? shown : (Object.keys(snapshot.states)[0] ?? thread.root_state_id);
    set({ head, failure: null });
    if (reset) {
      this.tell('reloaded');
      this.told = setTimeout(() => set({ freshness: this.link === 'open' ? 'live' : 'catching up' }), TOLD);
    } else if (this.link === 'open') this.tell('live');
    else this.lagging();
    this.board.follow(this.threadId);
    await this.readTree();
  }

  private async readTree(): Promise<void> {
    let cursor: string | null = null;
    do {
      const page: Awaited<ReturnType<typeof api.tree>> = await api.tree(this.threadId, cursor, this.abort.signal);
      if (this.stopped) return;
      cursor = page.next;
      dispatch({ type: 'tree', items: page.items, last: !cursor });
    } while (cursor);
  }

  private failed(error: unknown, wanted: string | null, reset: boolean): void {
    if (this.stopped) return;
    if (error instanceof Problem && error.status === 404) {
      set({ missing: true });
      return;
    }
    set({ failure: get().data.cursor ? null : inWords(error) });
    this.tell('offline');
    const pause = Math.min(8000, 500 * 2 ** this.failures);
    this.failures += 1;
    this.retry = setTimeout(() => void this.read(wanted ?? get().head, reset), pause);
  }
}

/** Load what is before the topmost state that is shown, or the way to a head that is not loaded. */
export async function loadHistory(from: string, cursor?: string | null): Promise<void> {
  const { threadId } = get().data;
  const history = await api.history(from, cursor);
  if (get().data.threadId === threadId) dispatch({ type: 'history', history });
}
