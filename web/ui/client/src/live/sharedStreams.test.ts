/** Tabs that come and go, a leader that is closed or killed, and a connection that fails, lose and double nothing. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Hint, LogEvent } from './events';
import { serveTabs } from './hub';
import type { ConnectionState } from './messages';
import { SharedStreams } from './sharedStreams';

/** Numbers from 0 to 1 that are the same in each run (mulberry32). */
function randomFrom(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The server: the log of each thread, and whoever reads them. */
class Server {
  readonly logs = new Map<string, { epoch: string; texts: string[] }>();
  readonly sources = new Set<FakeEventSource>();
  opened = 0;
  down = false;
  user = 'ada';

  log(thread: string) {
    const log = this.logs.get(thread) ?? { epoch: 'e1', texts: [] };
    this.logs.set(thread, log);
    return log;
  }

  append(thread: string, text: string): void {
    this.log(thread).texts.push(text);
    for (const source of this.sources) source.deliver();
  }

  hint(hint: Hint): void {
    for (const source of this.sources) if (source.readyState === 1) source.emit(hint.type, hint, '');
  }

  /** Forget a log, as where Redis was emptied. */
  forget(thread: string): void {
    this.logs.set(thread, { epoch: `${this.log(thread).epoch}x`, texts: [] });
    for (const source of this.sources) source.deliver();
  }

  breakConnections(): void {
    for (const source of this.sources) source.fail(0);
  }

  cursor(thread: string): string {
    const { epoch, texts } = this.log(thread);
    return `${epoch}:${texts.length}`;
  }
}

let server: Server;

class FakeEventSource {
  static readonly CLOSED = 2;
  readyState = 0;
  onopen = () => {};
  onerror = () => {};
  private readonly positions = new Map<string, { epoch: string; seq: number }>();
  private readonly listeners = new Map<string, (event: { data: string; lastEventId: string }) => void>();
  readonly user: string;

  constructor(url: string) {
    const query = new URL(url, 'http://here').searchParams;
    this.user = query.get('user') ?? '';
    for (const part of (query.get('threads') ?? '').split(',').filter(Boolean)) {
      const [thread = '', epoch = '', seq = ''] = part.split(/[@:]/);
      this.positions.set(thread, { epoch, seq: Number(seq) });
    }
    server.sources.add(this);
    setTimeout(() => {
      if (this.readyState !== 0) return;
      if (server.down || server.user !== this.user) {
        this.fail(server.down ? 0 : 2);
        return;
      }
      this.readyState = 1;
      server.opened += 1;
      this.onopen();
      this.deliver();
    }, 15);
  }

  addEventListener(type: string, listener: (event: { data: string; lastEventId: string }) => void): void {
    this.listeners.set(type, listener);
  }

  deliver(): void {
    if (this.readyState !== 1) return;
    for (const [thread, position] of this.positions) {
      const { epoch, texts } = server.log(thread);
      if (position.epoch !== epoch || position.seq > texts.length) {
        this.positions.delete(thread);
        this.emit('reset', { seq: null, type: 'reset', thread_id: thread, reason: 'epoch' }, '');
        continue;
      }
      while (position.seq < texts.length) {
        const text = texts[position.seq++];
        const type = 'message.delta';
        this.emit(type, { seq: position.seq, type, thread_id: thread, text }, `${epoch}:${position.seq}`);
      }
    }
  }

  /** As in a browser, nothing arrives of a source that is closed. */
  emit(type: string, data: object, lastEventId: string): void {
    setTimeout(() => this.readyState === 1 && this.listeners.get(type)?.({ data: JSON.stringify(data), lastEventId }), 1);
  }

  fail(readyState: number): void {
    if (this.readyState === 2) return;
    this.readyState = readyState;
    server.sources.delete(this);
    this.onerror();
  }

  close(): void {
    this.readyState = 2;
    server.sources.delete(this);
  }
}

const channels = new Set<FakeChannel>();

class FakeChannel {
  onmessage: ((event: { data: unknown }) => void) | null = null;

  constructor(readonly name: string) {
    channels.add(this);
  }

  postMessage(message: unknown): void {
    if (!channels.has(this)) return;
    const data = structuredClone(message);
    for (const other of channels) {
      if (other !== this && other.name === this.name) setTimeout(() => channels.has(other) && other.onmessage?.({ data }), 2);
    }
  }

  close(): void {
    channels.delete(this);
  }
}

/** Names of the workers that run. A worker has a hub, whose channel is the first that is made for it. */
const workers = new Map<string, FakeChannel>();

class FakeSharedWorker {
  static broken = false;
  onerror = () => {};

  constructor(_: URL, { name }: { name: string }) {
    if (FakeSharedWorker.broken) setTimeout(() => this.onerror(), 5);
    else if (!workers.has(name)) {
      serveTabs(name);
      workers.set(name, [...channels].at(-1) as FakeChannel);
    }
  }
}

class FakeLocks {
  private readonly queue: (() => void)[] = [];
  private held = false;

  request(_: string, { signal }: { signal: AbortSignal }, use: () => Promise<void> | undefined): Promise<void> {
    const enter = () => {
      if (signal.aborted) return this.next();
      void Promise.resolve(use()).then(() => this.next());
    };
    if (this.held) this.queue.push(enter);
    else setTimeout(enter, 3);
    this.held = true;
    return Promise.resolve();
  }

  private next(): void {
    const enter = this.queue.shift();
    if (enter) enter();
    else this.held = false;
  }
}

/** A tab that watches one thread, and applies events as the thread's reducer does. */
class Tab {
  texts: string[] = [];
  epoch: string | null = null;
  snapshots = 0;
  state: ConnectionState = 'connecting';
  hints: Hint[] = [];
  refused = 0;
  private held: { epoch: string; seq: number; text: string }[] = [];
  private unwatch: (() => void) | null = null;
  readonly streams: SharedStreams;
  private readonly channel: FakeChannel | null;

  constructor(readonly thread: string) {
    const before = new Set(channels);
    const workersBefore = new Set(workers.values());
    this.streams = new SharedStreams('ada', { onHint: (hint) => this.hints.push(hint), onRefused: () => (this.refused += 1) });
    for (const worker of workers.values()) if (!workersBefore.has(worker)) before.add(worker);
    this.channel = [...channels].find((channel) => !before.has(channel)) ?? null;
    this.show();
    void this.read();
  }

  show(): void {
    this.unwatch = this.streams.watch(this.thread, {
      cursor: () => (this.epoch === null ? null : `${this.epoch}:${this.texts.length}`),
      onEvent: (id, event) => {
        const [epoch = '', seq = ''] = id.split(':');
        this.held.push({ epoch, seq: Number(seq), text: (event as LogEvent & { text: string }).text });
        this.apply();
      },
      onReset: () => void this.read(),
      onState: (state) => (this.state = state),
    });
    if (this.epoch !== null) this.streams.follow(this.thread);
  }

  hide(): void {
    this.unwatch?.();
  }

  private async read(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, 10));
    const { epoch, texts } = server.log(this.thread);
    this.epoch = epoch;
    this.texts = [...texts];
    this.snapshots += 1;
    await new Promise((resolve) => setTimeout(resolve, 10));
    this.apply();
    this.streams.follow(this.thread);
  }

  private apply(): void {
    if (this.epoch === null) return;
    for (let found = true; found; ) {
      this.held = this.held.filter(({ epoch, seq }) => epoch === this.epoch && seq > this.texts.length);
      const next = this.held.find(({ seq }) => seq === this.texts.length + 1);
      if ((found = !!next)) this.texts.push(next!.text);
    }
  }

  close(): void {
    this.streams.close();
  }

  /** End it without its saying anything. */
  kill(): void {
    this.channel?.close();
    this.streams.close();
  }
}

let listeners: Map<string, Set<() => void>>;

beforeEach(() => {
  vi.useFakeTimers();
  server = new Server();
  listeners = new Map();
  const addEventListener = (type: string, listener: () => void) => listeners.set(type, (listeners.get(type) ?? new Set()).add(listener));
  vi.stubGlobal('addEventListener', addEventListener);
  vi.stubGlobal('document', { hidden: false, addEventListener });
  vi.stubGlobal('EventSource', FakeEventSource);
  vi.stubGlobal('BroadcastChannel', FakeChannel);
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
  channels.clear();
  workers.clear();
  FakeSharedWorker.broken = false;
});

const MODES = {
  'a shared worker': () => {
    vi.stubGlobal('SharedWorker', FakeSharedWorker);
    vi.stubGlobal('navigator', {});
  },
  'a leading tab': () => vi.stubGlobal('navigator', { locks: new FakeLocks() }),
  'a leading tab, where the worker cannot be loaded': () => {
    FakeSharedWorker.broken = true;
    vi.stubGlobal('SharedWorker', FakeSharedWorker);
    vi.stubGlobal('navigator', { locks: new FakeLocks() });
  },
  'each tab for itself': () => vi.stubGlobal('navigator', {}),
  'each tab for itself, where tabs cannot talk': () => {
    vi.stubGlobal('SharedWorker', FakeSharedWorker);
    vi.stubGlobal('BroadcastChannel', undefined);
    vi.stubGlobal('navigator', { locks: new FakeLocks() });
  },
};

const pass = (milliseconds: number) => vi.advanceTimersByTimeAsync(milliseconds);

describe.each(Object.entries(MODES))('with %s', (mode, prepare) => {
  const alone = mode.startsWith('each tab for itself');

  beforeEach(prepare);

  test('six tabs need one connection', async () => {
    const tabs = Array.from('abcdef', (thread) => new Tab(thread));
    await pass(500);
    expect(server.sources.size).toBe(alone ? 6 : 1);
    for (const tab of tabs) server.append(tab.thread, 'text');
    await pass(100);
    expect(tabs.map(({ texts, state, snapshots }) => [...texts, state, snapshots])).toEqual(tabs.map(() => ['text', 'open', 1]));
  });

  test.each([1, 2, 3])('nothing is lost or doubled, whatever happens (%i)', async (seed) => {
    const random = randomFrom(seed);
    const one = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T;
    const threads = ['a', 'b', 'c'];
    let tabs: Tab[] = [];
    let written = 0;
    for (let step = 0; step < 250; step += 1) {
      const act = random();
      if (act < 0.6) server.append(one(threads), `${written++}`);
      else if (act < 0.68 && tabs.length < 6) tabs.push(new Tab(one(threads)));
      else if (act < 0.72 && tabs.length) tabs.splice(0, 1)[0]?.close();
      else if (act < 0.75 && tabs.length) tabs.splice(0, 1)[0]?.kill();
      else if (act < 0.78) server.breakConnections();
      else if (act < 0.79) server.forget(one(threads));
      else if (act < 0.83 && tabs.length) {
        const tab = one(tabs);
        tab.hide();
        server.append(tab.thread, `${written++}`);
        await pass(random() * 60);
        tab.show();
      } else if (act < 0.85) server.down = !server.down;
      await pass(random() < 0.1 ? 3000 : random() * 30);
    }
    server.down = false;
    tabs.push(new Tab('a'));
    await pass(20_000);
    for (const tab of tabs) {
      expect(tab.texts).toEqual(server.log(tab.thread).texts);
      expect(tab.state).toBe('open');
    }
    // What was killed is still believed to be there for a while.
    await pass(100_000);
    tabs = tabs.splice(0).filter((tab) => tab.close());
    await pass(100);
    expect(server.sources.size).toBe(0);
  });

  test('a tab that was hidden catches up without a snapshot, beside another that has seen all', async () => {
    const [first, second] = [new Tab('a'), new Tab('a')];
    await pass(300);
    second.hide();
    await pass(100);
    server.append('a', 'unseen');
    await pass(100);
    expect([first.texts, second.texts]).toEqual([['unseen'], []]);
    second.show();
    await pass(100);
    expect([second.texts, second.snapshots]).toEqual([['unseen'], 1]);
  });

  test('another thread costs no hint, and an interruption has the lists read again', async () => {
    const first = new Tab('a');
    await pass(300);
    new Tab('b');
    for (let n = 0; n < 20; n += 1) {
      server.hint({ type: 'run.changed', run_id: `${n}` });
      await pass(7);
    }
    await pass(100);
    const runs = new Set(first.hints.map(({ run_id }) => run_id));
    expect(runs.size).toBe(20);
    expect(first.hints.some(({ type }) => type === 'reload')).toBe(false);
    server.breakConnections();
    await pass(3000);
    expect(first.hints.at(-1)?.type).toBe('reload');
  });

  test('tabs are told that the stream is refused, and what the state of the connection is', async () => {
    const tab = new Tab('a');
    await pass(300);
    expect(tab.state).toBe('open');
    server.user = 'eve';
    server.breakConnections();
    await pass(5000);
    expect(tab.refused).toBeGreaterThan(0);
    expect(tab.state).toBe('lost');
  });
});

test('the next leader has the lists read again', async () => {
  MODES['a leading tab']();
  const [first, second] = [new Tab('a'), new Tab('b')];
  await pass(300);
  expect(second.hints).toEqual([]);
  first.kill();
  await pass(300);
  expect(second.hints).toEqual([{ type: 'reload' }]);
});

test('a worker that the system has ended is started again', async () => {
  MODES['a shared worker']();
  const tab = new Tab('a');
  await pass(300);
  for (const [name, channel] of workers) {
    channel.close();
    workers.delete(name);
  }
  server.breakConnections(); // its connection ends with it, and that of the new one is the next
  server.append('a', 'meanwhile');
  await pass(45_000);
  expect([tab.texts, tab.state]).toEqual([['meanwhile'], 'open']);
});

test('a new connection waits no longer than a moment for one that the browser may need to free first', async () => {
  MODES['each tab for itself']();
  const tab = new Tab('a');
  await pass(300);
  class Queued extends FakeEventSource {
    constructor(url: string) {
      super(url);
      if (server.sources.size > 1) this.readyState = -1; // neither open nor failed
    }
  }
  vi.stubGlobal('EventSource', Queued);
  tab.streams.watch('b', { cursor: () => 'e1:0', onEvent: () => {}, onReset: () => {}, onState: () => {} });
  tab.streams.follow('b');
  await pass(1000);
  expect(server.sources.size).toBe(2);
  await pass(1100);
  expect(server.sources.size).toBe(1);
  expect(tab.state).toBe('connecting');
});

test('a tab without a shared connection gives its own up while it is hidden', async () => {
  MODES['each tab for itself']();
  const tab = new Tab('a');
  await pass(300);
  const page = document as unknown as { hidden: boolean };
  const shown = (hidden: boolean) => {
    page.hidden = hidden;
    for (const listener of listeners.get('visibilitychange') ?? []) listener();
  };
  shown(true);
  expect(server.sources.size).toBe(0);
  server.append('a', 'meanwhile');
  await pass(60_000);
  expect(server.sources.size).toBe(0);
  shown(false);
  await pass(300);
  expect(tab.texts).toEqual(['meanwhile']);
  expect(tab.hints).toEqual([{ type: 'reload' }]);
});
