/**
 * One set of streams per browser, however many tabs are open: with HTTP/1.1 a browser makes at most six
 * connections to a host.
 *
 * The tab that holds a Web Lock is the leader. It opens the user's stream and one stream for each thread
 * that some tab watches, and passes what arrives on to the other tabs by a BroadcastChannel. When the
 * leader is closed, the next tab gets the lock and asks all tabs for the cursors they are at. Where Web
 * Locks are missing (pages that are not secure), each tab is a leader for itself.
 */
import { randomId } from '../api/randomId';
import { EVENT_TYPES, type Hint, type LogEvent, parseCursor } from './events';
import { type ConnectionState, openEventStream } from './eventStream';

/** What tabs send each other. Each tab handles its own messages as well. */
type TabMessage =
  /** The sender has become the leader. */
  | { kind: 'leader' }
  /** The tab watches a thread and has seen its log up to the cursor. Repeated as a heartbeat. */
  | { kind: 'watch'; tab: string; thread: string; cursor: string }
  /** The tab does not watch the thread any more; with null, none at all. */
  | { kind: 'leave'; tab: string; thread: string | null }
  /** The leader's stream of a thread began after this cursor. */
  | { kind: 'started'; thread: string; start: string }
  | { kind: 'event'; thread: string; id: string; event: LogEvent }
  | { kind: 'reset'; thread: string; reason: string }
  | { kind: 'hint'; hint: Hint }
  | { kind: 'state'; thread: string; state: ConnectionState };

export interface Watcher {
  /** The cursor up to which the watcher has seen the log; null before its first snapshot. */
  cursor: () => string | null;
  onEvent: (id: string, event: LogEvent) => void;
  /** The log cannot be followed from the watcher's cursor: it needs a snapshot. */
  onReset: (reason: string) => void;
  onState: (state: ConnectionState) => void;
}

/** A stream that the leader holds open. */
interface Subscription {
  /** The cursor after which the stream began. */
  start: string;
  close: () => void;
  state: ConnectionState;
  /** The tabs that watch the thread, and when they said so last. */
  tabs: Map<string, number>;
}

/** Milliseconds between two messages by which a tab says that it still watches. */
const HEARTBEAT = 20_000;
/** Milliseconds after which a silent tab is taken for closed. Browsers slow down timers of hidden tabs to one a minute. */
const TAB_TIMEOUT = 70_000;
const HINT_TYPES = ['thread.updated', 'thread.deleted', 'run.changed', 'reload'];

export class SharedStreams {
  private readonly tab = randomId();
  private readonly channel: BroadcastChannel | null;
  private readonly watchers = new Map<string, Watcher>();
  private readonly subscriptions = new Map<string, Subscription>();
  private readonly closed = new AbortController();
  private readonly heartbeatTimer: ReturnType<typeof setInterval>;
  private isLeader = false;
  private closeUserStream: (() => void) | null = null;
  private userStreamState: ConnectionState = 'connecting';

  constructor(
    userId: string,
    private readonly onHint: (hint: Hint) => void,
  ) {
    const name = `branchline.streams:${userId}`;
    const shared = 'locks' in navigator && 'BroadcastChannel' in globalThis;
    this.channel = shared ? new BroadcastChannel(name) : null;
    if (this.channel) this.channel.onmessage = ({ data }: MessageEvent<TabMessage>) => this.handle(data);
    if (shared) {
      navigator.locks
        .request(name, { signal: this.closed.signal }, () => {
          if (this.closed.signal.aborted) return undefined;
          this.becomeLeader();
          // The lock is held until the promise is settled.
          return new Promise<void>((resolve) => this.closed.signal.addEventListener('abort', () => resolve()));
        })
        .catch(() => {});
    } else {
      this.becomeLeader();
    }
    this.heartbeatTimer = setInterval(() => this.heartbeat(), HEARTBEAT);
    addEventListener('pagehide', this.leaveAll);
  }

  /** Pass on what happens in a thread once `follow` is called; the function that is returned ends it. */
  watch(thread: string, watcher: Watcher): () => void {
    this.watchers.set(thread, watcher);
    return () => {
      if (this.watchers.get(thread) !== watcher) return;
      this.watchers.delete(thread);
      this.broadcast({ kind: 'leave', tab: this.tab, thread });
    };
  }

  /** Follow a thread's log from its watcher's cursor; to be called again after each snapshot. */
  follow(thread: string): void {
    const cursor = this.watchers.get(thread)?.cursor();
    if (cursor) this.broadcast({ kind: 'watch', tab: this.tab, thread, cursor });
  }

  close(): void {
    this.leaveAll();
    removeEventListener('pagehide', this.leaveAll);
    clearInterval(this.heartbeatTimer);
    this.closeUserStream?.();
    for (const { close } of this.subscriptions.values()) close();
    this.subscriptions.clear();
    this.closed.abort();
    this.channel?.close();
  }

  private readonly leaveAll = () => this.broadcast({ kind: 'leave', tab: this.tab, thread: null });

  private broadcast(message: TabMessage): void {
    if (!this.closed.signal.aborted) this.channel?.postMessage(message);
    this.handle(message);
  }

  private handle(message: TabMessage): void {
    switch (message.kind) {
      case 'leader':
        for (const thread of this.watchers.keys()) this.follow(thread);
        break;
      case 'watch':
        if (this.isLeader) this.subscribe(message.thread, message.tab, message.cursor);
        break;
      case 'leave':
        if (this.isLeader) this.unsubscribe(message.tab, message.thread);
        break;
      case 'started':
        this.checkForGap(message.thread, message.start);
        break;
      case 'event':
        this.watchers.get(message.thread)?.onEvent(message.id, message.event);
        break;
      case 'reset':
        this.watchers.get(message.thread)?.onReset(message.reason);
        break;
      case 'hint':
        this.onHint(message.hint);
        break;
      case 'state':
        this.watchers.get(message.thread)?.onState(message.state);
        break;
    }
  }

  // ── what the leader does ──────────────────────────────────────────────────

  private becomeLeader(): void {
    this.isLeader = true;
    this.closeUserStream = openEventStream({
      url: () => '/api/events',
      types: HINT_TYPES,
      onEvent: (_, data) => this.broadcast({ kind: 'hint', hint: JSON.parse(data) as Hint }),
      onState: (state) => {
        // Hints are not numbered, so after an interruption everything they hint at is read again.
        if (state === 'open' && this.userStreamState === 'lost') this.broadcast({ kind: 'hint', hint: { type: 'reload' } });
        if (state !== 'connecting') this.userStreamState = state;
      },
    });
    this.broadcast({ kind: 'leader' });
  }

  private subscribe(thread: string, tab: string, cursor: string): void {
    let subscription = this.subscriptions.get(thread);
    if (!subscription) {
      subscription = { start: cursor, close: () => {}, state: 'connecting', tabs: new Map() };
      this.subscriptions.set(thread, subscription);
      subscription.close = this.open(thread, cursor, subscription);
    }
    subscription.tabs.set(tab, Date.now());
    this.broadcast({ kind: 'started', thread, start: subscription.start });
    this.broadcast({ kind: 'state', thread, state: subscription.state });
  }

  private open(thread: string, start: string, subscription: Subscription): () => void {
    return openEventStream({
      url: (lastId) => `/api/threads/${thread}/events?after=${encodeURIComponent(lastId ?? start)}`,
      types: [...EVENT_TYPES, 'reset'],
      final: ['reset', 'thread.deleted'],
      onEvent: (type, data, id) => {
        if (type === 'reset') {
          this.subscriptions.delete(thread);
          this.broadcast({ kind: 'reset', thread, reason: (JSON.parse(data) as { reason: string }).reason });
        } else {
          this.broadcast({ kind: 'event', thread, id, event: JSON.parse(data) as LogEvent });
        }
      },
      onState: (state) => {
        subscription.state = state;
        if (this.subscriptions.get(thread) === subscription) this.broadcast({ kind: 'state', thread, state });
      },
    });
  }

  private unsubscribe(tab: string, thread: string | null): void {
    for (const [id, subscription] of this.subscriptions) {
      if (thread !== null && thread !== id) continue;
      subscription.tabs.delete(tab);
      if (subscription.tabs.size) continue;
      subscription.close();
      this.subscriptions.delete(id);
    }
  }

  // ── what every tab does ───────────────────────────────────────────────────

  /** Reset the watcher if the leader's stream began after its cursor: it would miss what lies between. */
  private checkForGap(thread: string, start: string): void {
    const watcher = this.watchers.get(thread);
    const ours = parseCursor(watcher?.cursor() ?? '');
    const theirs = parseCursor(start);
    if (watcher && ours && theirs && ours.epoch === theirs.epoch && ours.seq < theirs.seq) watcher.onReset('gap');
  }

  private heartbeat(): void {
    for (const thread of this.watchers.keys()) this.follow(thread);
    if (!this.isLeader) return;
    const oldest = Date.now() - TAB_TIMEOUT;
    for (const { tabs } of this.subscriptions.values()) {
      for (const [tab, seen] of tabs) if (seen < oldest) this.unsubscribe(tab, null);
    }
  }
}
