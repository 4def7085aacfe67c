/** Keeps the watched thread in step with the server: reads a snapshot, follows the log from there, and reads the tree. */
import { api } from '../api/calls';
import { errorMessage, Problem } from '../api/request';
import { awaitAnswer } from '../api/waiting';
import type { LogEvent } from '../live/events';
import type { ConnectionState } from '../live/messages';
import type { SharedStreams } from '../live/sharedStreams';
import type { Action } from './reducer';
import { emptyThread } from './state';
import { dispatch, storedChoices, type SyncStatus, threadStore } from './store';

const { getState: get, setState: set } = threadStore;

/** Milliseconds in which events are collected and applied together: one frame of the screen. */
const FRAME = 16;
/** Milliseconds to wait for an event that precedes those that have arrived, before a snapshot is read instead. */
const GAP_TIMEOUT = 1000;
/** Milliseconds for which the status "reloaded" is shown. */
const RELOADED_SHOWN = 4000;
/** Milliseconds without a connection after which the status is "offline". */
const OFFLINE_AFTER = 3000;
/** Milliseconds: the first pause before a failed read is repeated, and the longest; each is twice the one before. */
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 8000;

/** Watch a thread, showing the branch to `head` if there is one; the function that is returned ends it. */
export function watchThread(threadId: string, head: string | null, streams: SharedStreams): () => void {
  const sync = new ThreadSync(threadId, streams);
  set({
    data: emptyThread(threadId),
    head,
    syncStatus: 'loading',
    error: null,
    notFound: false,
    choices: storedChoices(threadId),
  });
  sync.start(head);
  return () => sync.stop();
}

type Timer = ReturnType<typeof setTimeout> | undefined;

class ThreadSync {
  private stopped = false;
  private readonly received: Action[] = [];
  private unwatch: (() => void) | null = null;
  private reading = false;
  private readAgain = false;
  private connection: ConnectionState = 'connecting';
  private failures = 0;
  private flushTimer: Timer;
  private gapTimer: Timer;
  private reloadedTimer: Timer;
  private offlineTimer: Timer;
  private retryTimer: Timer;
  /** Called when the connection that is being made is open or has failed. */
  private connected: (() => void) | null = null;
  private readonly abort = new AbortController();

  constructor(
    private readonly threadId: string,
    private readonly streams: SharedStreams,
  ) {}

  start(head: string | null): void {
    this.watch();
    document.addEventListener('visibilitychange', this.onVisibilityChange);
    void this.read(head);
  }

  stop(): void {
    this.stopped = true;
    this.abort.abort();
    document.removeEventListener('visibilitychange', this.onVisibilityChange);
    for (const timer of [this.flushTimer, this.gapTimer, this.reloadedTimer, this.offlineTimer, this.retryTimer]) clearTimeout(timer);
    this.unwatch?.();
    this.connected?.();
  }

  private watch(): void {
    this.unwatch = this.streams.watch(this.threadId, {
      cursor: () => {
        const { cursor } = get().data;
        return cursor ? `${cursor.epoch}:${cursor.seq}` : null;
      },
      onEvent: (id, event) => this.receive(id, event),
      onReset: () => this.reload(),
      onState: (state) => this.onConnection(state),
    });
  }

  /** A hidden tab gives up its stream, and catches up when it is visible again. */
  private readonly onVisibilityChange = () => {
    if (document.hidden) {
      this.flush();
      this.unwatch?.();
      this.unwatch = null;
      this.connected?.();
      this.connected = null;
    } else if (!this.unwatch) {
      this.watch();
      this.streams.follow(this.threadId);
    }
  };

  // ── events ────────────────────────────────────────────────────────────────

  private receive(id: string, event: LogEvent): void {
    this.received.push({ type: 'event', id, event });
    this.flushTimer ??= setTimeout(() => this.flush(), FRAME);
  }

  private flush(): void {
    clearTimeout(this.flushTimer);
    this.flushTimer = undefined;
    if (this.stopped) return;
    dispatch(...this.received.splice(0));
    const { data } = get();
    if (data.stale) void this.read(get().head, true);
    else if (data.pending.size && data.cursor) {
      this.gapTimer ??= setTimeout(() => {
        this.gapTimer = undefined;
        if (get().data.pending.size && !this.stopped) this.reload();
      }, GAP_TIMEOUT);
    }
  }

  private reload(): void {
    dispatch({ type: 'reset' });
    void this.read(get().head, true);
  }

  // ── the status that is shown ──────────────────────────────────────────────

  private onConnection(state: ConnectionState): void {
    this.connection = state;
    if (state === 'connecting') this.connected ??= awaitAnswer();
    else {
      this.connected?.();
      this.connected = null;
    }
    if (state === 'open') {
      clearTimeout(this.offlineTimer);
      this.offlineTimer = undefined;
      if (get().syncStatus !== 'reloaded' && get().data.cursor) this.setStatus('live');
    } else if (get().syncStatus === 'live' || (state === 'lost' && get().syncStatus !== 'loading')) this.onInterruption();
  }

  /** Most interruptions are short; one that lasts is shown as "offline". */
  private onInterruption(): void {
    if (this.offlineTimer || get().syncStatus === 'offline') return;
    this.setStatus(navigator.onLine ? 'catching up' : 'offline');
    this.offlineTimer = setTimeout(() => {
      this.offlineTimer = undefined;
      if (this.connection !== 'open') set({ syncStatus: this.connection === 'lost' || !navigator.onLine ? 'offline' : 'catching up' });
    }, OFFLINE_AFTER);
  }

  private setStatus(syncStatus: SyncStatus): void {
    clearTimeout(this.reloadedTimer);
    set({ syncStatus });
  }

  // ── reading ───────────────────────────────────────────────────────────────

  /** Read a snapshot, follow the log from there, and read the tree. One reading at a time. */
  private async read(head: string | null, reset = false): Promise<void> {
    if (this.reading) {
      this.readAgain = true;
      return;
    }
    this.reading = true;
    clearTimeout(this.retryTimer);
    if (reset && get().data.cursor) this.setStatus('catching up');
    try {
      await this.readOnce(head, reset);
      this.failures = 0;
    } catch (error) {
      this.onFailure(error, head, reset);
    } finally {
      this.reading = false;
    }
    const again = this.readAgain && get().data.stale && !this.stopped;
    this.readAgain = false;
    if (again) void this.read(get().head, true);
  }

  private async readOnce(head: string | null, reset: boolean): Promise<void> {
    const [thread, snapshot] = await Promise.all([
      api.thread(this.threadId),
      api.snapshot(this.threadId, head).catch((error: unknown) => {
        // The address may name a state that does not exist; the thread is shown at its latest state then.
        if (error instanceof Problem && error.status === 404 && head && !reset) return api.snapshot(this.threadId, null);
        throw error;
      }),
    ]);
    if (this.stopped) return;
    // A turn that has begun since is one that whoever sees the branch of the snapshot goes along to.
    dispatch({ type: 'thread', thread }, { type: 'snapshot', snapshot, hold: true });
    const shown = get().head;
    const known = shown && get().data.nodes.has(shown);
    set({ head: known ? shown : (Object.keys(snapshot.states)[0] ?? thread.root_state_id), error: null });
    dispatch({ type: 'drain' });
    if (reset) {
      this.setStatus('reloaded');
      this.reloadedTimer = setTimeout(() => set({ syncStatus: this.connection === 'open' ? 'live' : 'catching up' }), RELOADED_SHOWN);
    } else if (this.connection === 'open') this.setStatus('live');
    else if (this.connection === 'lost') this.onInterruption();
    this.streams.follow(this.threadId);
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

  private onFailure(error: unknown, head: string | null, reset: boolean): void {
    if (this.stopped) return;
    if (error instanceof Problem && error.status === 404) {
      set({ notFound: true });
      return;
    }
    set({ error: get().data.cursor ? null : errorMessage(error) });
    this.setStatus('offline');
    const pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** this.failures);
    this.failures += 1;
    this.retryTimer = setTimeout(() => void this.read(head ?? get().head, reset), pause);
  }
}
