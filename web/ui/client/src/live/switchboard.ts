/**
 * One set of streams per browser, however many tabs are open: HTTP/1.1 gives six connections.
 *
 * The tab that holds a Web Lock leads. It holds the user's stream and one stream for each thread
 * that some tab watches, and passes on what comes by a BroadcastChannel. When it goes, the next tab
 * gets the lock, and everybody tells it from where they want to go on. Where locks are missing
 * (pages that are not secure) each tab leads itself.
 */
import { EVENT_TYPES, type Hint, type LogEvent, readCursor } from './events';
import { type Link, openStream } from './streams';

type Post =
  | { kind: 'leading' }
  | { kind: 'watch'; tab: string; thread: string; after: string }
  | { kind: 'leave'; tab: string; thread: string | null }
  | { kind: 'from'; thread: string; start: string }
  | { kind: 'event'; thread: string; id: string; event: LogEvent }
  | { kind: 'reset'; thread: string; reason: string }
  | { kind: 'hint'; hint: Hint }
  | { kind: 'link'; thread: string; link: Link };

export interface Watcher {
  /** Where it wants to go on: its cursor. */
  after: () => string | null;
  event: (id: string, event: LogEvent) => void;
  /** The log cannot be followed from the watcher's cursor: a snapshot is needed. */
  reset: (reason: string) => void;
  link: (link: Link) => void;
}

interface Held {
  start: string;
  close: () => void;
  link: Link;
  tabs: Map<string, number>;
}

const REMIND = 20_000;
const FORGET = 70_000;
const HINT_TYPES = ['thread.updated', 'thread.deleted', 'run.changed', 'reload'];

export class Switchboard {
  private readonly tab = crypto.randomUUID?.() ?? String(Math.random());
  private readonly channel: BroadcastChannel | null;
  private readonly watchers = new Map<string, Watcher>();
  private readonly held = new Map<string, Held>();
  private readonly ended = new AbortController();
  private readonly reminder: ReturnType<typeof setInterval>;
  private leads = false;
  private closeHints: (() => void) | null = null;
  private userLink: Link = 'connecting';

  constructor(
    user: string,
    private readonly onHint: (hint: Hint) => void,
  ) {
    const name = `branchline:${user}`;
    const shared = 'locks' in navigator && 'BroadcastChannel' in globalThis;
    this.channel = shared ? new BroadcastChannel(name) : null;
    if (this.channel) this.channel.onmessage = ({ data }: MessageEvent<Post>) => this.take(data);
    if (shared) {
      navigator.locks
        .request(name, { signal: this.ended.signal }, () => {
          if (this.ended.signal.aborted) return undefined;
          this.lead();
          return new Promise<void>((resolve) => this.ended.signal.addEventListener('abort', () => resolve()));
        })
        .catch(() => {});
    } else {
      this.lead();
    }
    this.reminder = setInterval(() => this.askAgain(), REMIND);
    addEventListener('pagehide', this.leaveAll);
  }

  watch(thread: string, watcher: Watcher): () => void {
    this.watchers.set(thread, watcher);
    return () => {
      if (this.watchers.get(thread) !== watcher) return;
      this.watchers.delete(thread);
      this.say({ kind: 'leave', tab: this.tab, thread });
    };
  }

  /** Have the thread's stream go on from the watcher's cursor; call it again after each snapshot. */
  follow(thread: string): void {
    const after = this.watchers.get(thread)?.after();
    if (after) this.say({ kind: 'watch', tab: this.tab, thread, after });
  }

  close(): void {
    this.leaveAll();
    removeEventListener('pagehide', this.leaveAll);
    clearInterval(this.reminder);
    this.closeHints?.();
    for (const { close } of this.held.values()) close();
    this.held.clear();
    this.ended.abort();
    this.channel?.close();
  }

  private readonly leaveAll = () => this.say({ kind: 'leave', tab: this.tab, thread: null });

  /** To everybody, oneself included. */
  private say(post: Post): void {
    if (!this.ended.signal.aborted) this.channel?.postMessage(post);
    this.take(post);
  }

  private take(post: Post): void {
    switch (post.kind) {
      case 'leading':
        for (const thread of this.watchers.keys()) this.follow(thread);
        break;
      case 'watch':
        if (this.leads) this.hold(post.thread, post.tab, post.after);
        break;
      case 'leave':
        if (this.leads) this.release(post.tab, post.thread);
        break;
      case 'from':
        this.compare(post.thread, post.start);
        break;
      case 'event':
        this.watchers.get(post.thread)?.event(post.id, post.event);
        break;
      case 'reset':
        this.watchers.get(post.thread)?.reset(post.reason);
        break;
      case 'hint':
        this.onHint(post.hint);
        break;
      case 'link':
        this.watchers.get(post.thread)?.link(post.link);
        break;
    }
  }

  // ── leading ───────────────────────────────────────────────────────────────

  private lead(): void {
    this.leads = true;
    this.closeHints = openStream({
      url: () => '/api/events',
      types: HINT_TYPES,
      event: (_, data) => this.say({ kind: 'hint', hint: JSON.parse(data) as Hint }),
      link: (link) => {
        // Hints have no numbers: whoever was away reads the lists again.
        if (link === 'open' && this.userLink === 'lost') this.say({ kind: 'hint', hint: { type: 'reload' } });
        if (link !== 'connecting') this.userLink = link;
      },
    });
    this.say({ kind: 'leading' });
  }

  private hold(thread: string, tab: string, after: string): void {
    const now = Date.now();
    let held = this.held.get(thread);
    if (!held) {
      held = { start: after, close: () => {}, link: 'connecting', tabs: new Map() };
      this.held.set(thread, held);
      held.close = this.open(thread, after, held);
    }
    held.tabs.set(tab, now);
    this.say({ kind: 'from', thread, start: held.start });
    this.say({ kind: 'link', thread, link: held.link });
  }

  private open(thread: string, start: string, held: Held): () => void {
    return openStream({
      url: (lastId) => `/api/threads/${thread}/events?after=${encodeURIComponent(lastId ?? start)}`,
      types: [...EVENT_TYPES, 'reset'],
      last: ['reset', 'thread.deleted'],
      event: (type, data, id) => {
        if (type === 'reset') {
          this.held.delete(thread);
          this.say({ kind: 'reset', thread, reason: (JSON.parse(data) as { reason: string }).reason });
        } else {
          this.say({ kind: 'event', thread, id, event: JSON.parse(data) as LogEvent });
        }
      },
      link: (link) => {
        held.link = link;
        if (this.held.get(thread) === held) this.say({ kind: 'link', thread, link });
      },
    });
  }

  private release(tab: string, thread: string | null): void {
    for (const [id, held] of this.held) {
      if (thread !== null && thread !== id) continue;
      held.tabs.delete(tab);
      if (held.tabs.size) continue;
      held.close();
      this.held.delete(id);
    }
  }

  // ── watching ──────────────────────────────────────────────────────────────

  /** A stream that began after our cursor has left something out for us. */
  private compare(thread: string, start: string): void {
    const watcher = this.watchers.get(thread);
    const ours = readCursor(watcher?.after() ?? '');
    const theirs = readCursor(start);
    if (watcher && ours && theirs && ours.epoch === theirs.epoch && ours.seq < theirs.seq) watcher.reset('gap');
  }

  private askAgain(): void {
    for (const thread of this.watchers.keys()) this.follow(thread);
    if (!this.leads) return;
    const old = Date.now() - FORGET;
    for (const held of this.held.values()) {
      for (const [tab, seen] of held.tabs) if (seen < old) this.release(tab, null);
    }
  }
}
