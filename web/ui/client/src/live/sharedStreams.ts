/**
 * One connection per browser for all that is streamed, however many tabs are open: with HTTP/1.1 a
 * browser makes at most six connections to a server, for all its tabs together.
 *
 * A hub (`hub.ts`) has the connection, and talks with the tabs by a BroadcastChannel. It runs
 *
 * - in a SharedWorker, which exists on pages without TLS too;
 * - else in the tab that holds a Web Lock; when that tab is closed, the next one gets the lock;
 * - else in each tab for itself. Such a tab needs nothing while it is hidden, so that the tabs that are
 *   in sight have connections left.
 *
 * Each tab says which threads it follows, and from which cursor on. A new hub asks all tabs, and goes
 * on from there.
 */
import { randomId } from '../api/randomId';
import type { Hint, LogEvent } from './events';
import { channelName, StreamHub } from './hub';
import type { ConnectionState, StreamMessage } from './messages';

export interface Watcher {
  /** The cursor up to which the watcher has seen the log; null before its first snapshot. */
  cursor: () => string | null;
  onEvent: (id: string, event: LogEvent) => void;
  /** The log cannot be followed from the watcher's cursor: it needs a snapshot. */
  onReset: (reason: string) => void;
  onState: (state: ConnectionState) => void;
}

export interface StreamListener {
  onHint: (hint: Hint) => void;
  /** The server refuses the stream: perhaps nobody is signed in any more, or somebody else. */
  onRefused: () => void;
}

/** Milliseconds between two messages by which a tab says that it is still there. */
const HEARTBEAT = 20_000;

/** Tabs of another version of the interface have a worker and a channel of their own. */
const VERSION = new URL(import.meta.url).pathname;

const tabsCanTalk = () => typeof BroadcastChannel !== 'undefined';

export class SharedStreams {
  private readonly tab = randomId();
  private readonly name: string;
  private channel: BroadcastChannel | null = null;
  private hub: StreamHub | null = null;
  private inWorker = false;
  private elected = false;
  /** Whether any hub was heard of since this tab began, and since its last heartbeat. */
  private heardEver = false;
  private heardLately = false;
  private readonly watchers = new Map<string, Watcher>();
  /** The threads whose watchers have a cursor from which the log can be followed. */
  private readonly followed = new Set<string>();
  private readonly closed = new AbortController();
  private readonly heartbeatTimer: ReturnType<typeof setInterval>;

  constructor(
    private readonly userId: string,
    private readonly listener: StreamListener,
  ) {
    this.name = channelName(userId, VERSION);
    this.heartbeatTimer = setInterval(() => this.heartbeat(), HEARTBEAT);
    const { signal } = this.closed;
    addEventListener('pagehide', () => this.leave(), { signal });
    addEventListener('pageshow', ({ persisted }) => persisted && this.report(), { signal });
    addEventListener('online', () => this.tell({ kind: 'online' }), { signal });
    if (tabsCanTalk() && 'SharedWorker' in globalThis) this.useWorker();
    else this.electHub();
  }

  /** Pass on what happens in a thread once `follow` is called; the function that is returned ends it. */
  watch(thread: string, watcher: Watcher): () => void {
    this.watchers.set(thread, watcher);
    return () => {
      if (this.watchers.get(thread) !== watcher) return;
      this.watchers.delete(thread);
      if (this.followed.delete(thread)) this.report();
    };
  }

  /** Follow a thread's log from its watcher's cursor; to be called again after each snapshot. */
  follow(thread: string): void {
    if (!this.watchers.get(thread)?.cursor()) return;
    this.followed.add(thread);
    this.report();
  }

  close(): void {
    this.leave();
    clearInterval(this.heartbeatTimer);
    this.closed.abort();
    this.hub?.close();
    this.channel?.close();
  }

  // ── where the hub is ──────────────────────────────────────────────────────

  private useWorker(): void {
    try {
      const worker = new SharedWorker(new URL('./streamWorker.ts', import.meta.url), { type: 'module', name: this.name });
      worker.onerror = () => this.electHub();
    } catch {
      this.electHub();
      return;
    }
    this.inWorker = true;
    this.openChannel();
    this.report();
  }

  private electHub(): void {
    if (this.elected) return;
    this.elected = true;
    this.inWorker = false;
    const { signal } = this.closed;
    if (!tabsCanTalk() || !('locks' in navigator)) {
      this.channel?.close();
      this.channel = null;
      document.addEventListener('visibilitychange', () => this.report(), { signal });
      this.becomeHub();
      return;
    }
    this.openChannel();
    this.report();
    navigator.locks
      .request(this.name, { signal }, () => {
        if (signal.aborted) return undefined;
        this.becomeHub();
        // The lock is held until the promise is settled.
        return new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
      })
      .catch(() => {});
  }

  private openChannel(): void {
    if (this.channel) return;
    this.channel = new BroadcastChannel(this.name);
    this.channel.onmessage = ({ data }: MessageEvent<StreamMessage>) => {
      this.hub?.receive(data);
      this.handle(data);
    };
  }

  private becomeHub(): void {
    // Tabs that another hub has served have missed hints since it ended.
    const send = (message: StreamMessage) => {
      this.channel?.postMessage(message);
      this.handle(message);
    };
    this.hub = new StreamHub(this.userId, send, this.heardEver);
    this.report();
  }

  // ── what a tab says ───────────────────────────────────────────────────────

  private tell(message: StreamMessage): void {
    if (this.closed.signal.aborted) return;
    this.channel?.postMessage(message);
    this.hub?.receive(message);
  }

  /** Tell the hub all that this tab follows. */
  private report(): void {
    if (!this.channel && document.hidden) {
      this.leave();
      return;
    }
    const threads: Record<string, string> = {};
    for (const thread of this.followed) {
      const cursor = this.watchers.get(thread)?.cursor();
      if (cursor) threads[thread] = cursor;
    }
    this.tell({ kind: 'tab', tab: this.tab, threads });
  }

  private leave(): void {
    this.tell({ kind: 'gone', tab: this.tab });
  }

  private heartbeat(): void {
    // A system that is short of memory may end a worker, and nobody is told.
    if (this.inWorker && !this.heardLately) this.useWorker();
    else this.report();
    this.heardLately = false;
  }

  // ── what a tab is told ────────────────────────────────────────────────────

  private handle(message: StreamMessage): void {
    switch (message.kind) {
      case 'tab':
      case 'gone':
      case 'online':
        return;
      case 'hub':
        this.report();
        break;
      case 'event':
        this.watchers.get(message.event.thread_id)?.onEvent(message.id, message.event);
        break;
      case 'reset':
        this.followed.delete(message.thread);
        this.watchers.get(message.thread)?.onReset(message.reason);
        break;
      case 'hint':
        this.listener.onHint(message.hint);
        break;
      case 'state':
        for (const [thread, { onState }] of this.watchers) {
          onState(message.open.includes(thread) ? 'open' : message.lost ? 'lost' : 'connecting');
        }
        break;
      case 'refused':
        this.listener.onRefused();
        break;
    }
    this.heardEver = true;
    this.heardLately = true;
  }
}
