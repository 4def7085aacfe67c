/**
 * The holder of a browser's only stream, which passes on what arrives to all tabs.
 *
 * It runs in a SharedWorker or in one of the tabs. Other threads are followed by another connection,
 * which goes on from the cursors; the old one is closed once the new one is open, so that no hint is
 * lost. Some events are sent twice thereby, and each tab applies each of them once.
 */
import { connect, MAX_THREADS } from './connection';
import { type Cursor, type LogEvent, parseCursor } from './events';
import type { HubMessage, StreamMessage, TabMessage } from './messages';

/** A connection to the server, and the threads that it carries. */
interface Carrier {
  close: () => void;
  threads: string[];
}

interface FollowedThread {
  /** Everything up to here was passed on to all tabs that follow the thread. */
  cursor: Cursor;
  tabs: Set<string>;
}

/** Milliseconds in which changes are collected, so that one connection is made for all of them. */
const COLLECT = 20;
/** Milliseconds to wait after each failure; the last one is repeated. A random part of up to a half is added. */
const RETRY_DELAYS = [500, 1000, 2000, 4000, 8000];
/** Milliseconds after which a connection counts as one that works, so that the next retry is a quick one. */
const STABLE_AFTER = 5000;
/** Milliseconds for which a new connection may be waited for while the old one is kept. */
const HANDOVER_TIMEOUT = 2000;
/** Milliseconds for which an old connection is read once the new one is open. */
const IN_FLIGHT = 250;
/** Milliseconds after which a silent tab is taken for closed. Browsers slow down timers of hidden tabs to one a minute. */
const TAB_TIMEOUT = 70_000;
const EXPIRY_INTERVAL = 20_000;

type Timer = ReturnType<typeof setTimeout> | undefined;

/** The name of the channel on which a user's tabs and their hub talk; each version of the interface has its own. */
export function channelName(userId: string, version: string): string {
  return `branchline.streams:${userId}:${version}`;
}

/** Be the hub of the tabs on a channel; it ends with the worker in which it is called. */
export function serveTabs(name: string): void {
  const channel = new BroadcastChannel(name);
  const [, userId = ''] = name.split(':');
  const hub = new StreamHub(userId, (message) => channel.postMessage(message));
  channel.onmessage = ({ data }: MessageEvent<StreamMessage>) => hub.receive(data);
}

export class StreamHub {
  private readonly threads = new Map<string, FollowedThread>();
  /** When each tab was heard of last. */
  private readonly tabs = new Map<string, number>();
  /** The open connection, the one that is to replace it, and the one that it has replaced. */
  private current: Carrier | null = null;
  private next: Carrier | null = null;
  private retired: Carrier | null = null;
  private openTimer: Timer;
  private handoverTimer: Timer;
  private retiredTimer: Timer;
  private readonly expiryTimer = setInterval(() => this.expire(), EXPIRY_INTERVAL);
  private failures = 0;
  private lost = false;
  private openedAt = 0;

  /** `interrupted`: hints may have been lost since the tabs got some, so that they are told to read all again. */
  constructor(
    private readonly userId: string,
    private readonly send: (message: HubMessage) => void,
    private interrupted = false,
  ) {
    send({ kind: 'hub' });
  }

  /** Handle what a tab says; messages of a hub are ignored. */
  receive(message: StreamMessage): void {
    switch (message.kind) {
      case 'tab':
        this.update(message);
        break;
      case 'gone':
        this.remove(message.tab);
        break;
      case 'online':
        if (!this.current && this.tabs.size) this.openSoon();
        break;
    }
  }

  close(): void {
    this.disconnect();
    clearInterval(this.expiryTimer);
  }

  // ── what the tabs follow ──────────────────────────────────────────────────

  private update({ tab, threads }: TabMessage & { kind: 'tab' }): void {
    let changed = !this.tabs.size;
    this.tabs.set(tab, Date.now());
    this.leave(tab, (thread) => !(thread in threads));
    for (const [thread, text] of Object.entries(threads)) {
      const cursor = parseCursor(text);
      if (cursor && this.follow(tab, thread, cursor)) changed = true;
    }
    if (changed) this.openSoon();
    else this.sendState();
  }

  /** Have a tab follow a thread from its cursor; true if that needs another connection. */
  private follow(tab: string, thread: string, cursor: Cursor): boolean {
    const followed = this.threads.get(thread);
    if (!followed) {
      this.threads.set(thread, { cursor, tabs: new Set([tab]) });
      return true;
    }
    // A tab that was there before has been sent everything since.
    if (followed.tabs.has(tab)) return false;
    if (followed.cursor.epoch !== cursor.epoch) {
      // One of the two is outdated, and it is unknown which.
      this.reset(thread, 'epoch');
      return false;
    }
    followed.tabs.add(tab);
    if (cursor.seq >= followed.cursor.seq) return false;
    followed.cursor = cursor;
    return true;
  }

  private leave(tab: string, isLeft: (thread: string) => boolean): void {
    for (const [thread, { tabs }] of this.threads) {
      if (isLeft(thread) && tabs.delete(tab) && !tabs.size) this.threads.delete(thread);
    }
  }

  private remove(tab: string): void {
    this.tabs.delete(tab);
    this.leave(tab, () => true);
    if (!this.tabs.size) this.disconnect();
  }

  private expire(): void {
    const oldest = Date.now() - TAB_TIMEOUT;
    for (const [tab, seen] of this.tabs) if (seen < oldest) this.remove(tab);
    // Threads that nobody follows any more are only now worth another connection.
    if (this.current && !this.next && this.current.threads.some((thread) => !this.threads.has(thread))) this.openSoon();
  }

  // ── the connection ────────────────────────────────────────────────────────

  private openSoon(delay = COLLECT): void {
    clearTimeout(this.openTimer);
    this.openTimer = setTimeout(() => this.open(), delay);
  }

  private open(): void {
    this.next?.close();
    clearTimeout(this.handoverTimer);
    const carried = [...this.threads].slice(-MAX_THREADS);
    const cursors = new Map(carried.map(([thread, { cursor }]) => [thread, `${cursor.epoch}:${cursor.seq}`]));
    const next: Carrier = { close: () => {}, threads: [...cursors.keys()] };
    next.close = connect(this.userId, cursors, {
      onOpen: () => this.onOpen(),
      onEvent: (id, event) => this.onEvent(id, event),
      onReset: (thread, reason) => this.retired === next || this.reset(thread, reason),
      onHint: (hint) => this.send({ kind: 'hint', hint }),
      onFailure: (refused) => this.retired === next || this.onFailure(refused),
    });
    this.next = next;
    // The browser may have no connection left for the new one before the old one is closed.
    if (this.current) this.handoverTimer = setTimeout(() => this.closeCurrent(), HANDOVER_TIMEOUT);
    this.sendState();
  }

  private onOpen(): void {
    clearTimeout(this.handoverTimer);
    this.closeRetired();
    if (this.current) {
      this.retired = this.current;
      // A hint may be on its way that was sent before the new connection was there.
      this.retiredTimer = setTimeout(() => this.closeRetired(), IN_FLIGHT);
    }
    this.current = this.next;
    this.next = null;
    this.openedAt = Date.now();
    this.lost = false;
    if (this.interrupted) this.send({ kind: 'hint', hint: { type: 'reload' } });
    this.interrupted = false;
    this.sendState();
  }

  private onEvent(id: string, event: LogEvent): void {
    const thread = event.thread_id;
    const followed = this.threads.get(thread);
    if (!followed) return;
    const { epoch, seq } = followed.cursor;
    const position = parseCursor(id);
    if (position?.epoch === epoch) {
      if (position.seq <= seq) return;
      // After a tab joined at an earlier cursor, what lies between comes with the next connection.
      if (position.seq === seq + 1) followed.cursor = position;
    }
    if (event.type === 'thread.deleted') this.threads.delete(thread);
    this.send({ kind: 'event', id, event });
  }

  private reset(thread: string, reason: string): void {
    this.threads.delete(thread);
    if (this.current) this.current.threads = this.current.threads.filter((other) => other !== thread);
    this.send({ kind: 'reset', thread, reason });
  }

  /** Both connections are given up: the old one may be what keeps the new one from being accepted. */
  private onFailure(refused: boolean): void {
    if (this.current && Date.now() - this.openedAt >= STABLE_AFTER) this.failures = 0;
    this.disconnect();
    this.lost = true;
    this.interrupted = true;
    const delay = RETRY_DELAYS[Math.min(this.failures, RETRY_DELAYS.length - 1)] ?? 0;
    this.failures += 1;
    this.openSoon(delay * (1 + Math.random() / 2));
    this.sendState();
    if (refused) this.send({ kind: 'refused' });
  }

  private closeCurrent(): void {
    if (!this.current) return;
    this.current.close();
    this.current = null;
    this.interrupted = true;
    this.sendState();
  }

  private closeRetired(): void {
    clearTimeout(this.retiredTimer);
    this.retired?.close();
    this.retired = null;
  }

  private disconnect(): void {
    this.closeRetired();
    clearTimeout(this.openTimer);
    clearTimeout(this.handoverTimer);
    this.next?.close();
    this.next = null;
    this.closeCurrent();
  }

  private sendState(): void {
    this.send({ kind: 'state', open: this.current?.threads ?? [], lost: this.lost });
  }
}
