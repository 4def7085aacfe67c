/** Connections that are lost, refused and given up, and messages that are written meanwhile. */
import 'fake-indexeddb/auto';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { AgentChatService } from './agentChatService';
import { FakeServer, jwt } from './fakeServer';
import type { ConnectOptions, ServiceOptions, Status } from './types';

declare const setImmediate: (then: (value: unknown) => void) => void;

const open: { service: AgentChatService; id: string }[] = [];
let server: FakeServer;
let page: EventTarget;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date'] });
  vi.spyOn(Math, 'random').mockReturnValue(0);
  server = new FakeServer();
  page = new EventTarget();
  vi.stubGlobal('fetch', server.fetch);
  vi.stubGlobal('addEventListener', page.addEventListener.bind(page));
  vi.stubGlobal('removeEventListener', page.removeEventListener.bind(page));
});

afterEach(() => {
  for (const { service, id } of open.splice(0)) service.disconnectWebSocket(id);
  vi.useRealTimers();
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

/** A page with a chat, and what it was told. */
async function chatting(options: ServiceOptions & ConnectOptions = {}, id?: string) {
  const service = new AgentChatService({ server: server.url, ...options }, server.connect);
  id ??= (await service.createSession('docs', 'rag')).session_id;
  const told = { text: '', messages: [] as string[], typing: [] as boolean[], completed: 0, errors: [] as string[], statuses: [] as Status[], moved: [] as string[] };
  service.onStatusChange(id, (status) => told.statuses.push(status));
  service.onSessionChange(id, (now) => told.moved.push(now));
  service.connectWebSocket(
    id,
    (message) => told.messages.push(message.content),
    (isTyping) => told.typing.push(isTyping),
    (content) => (told.text += content),
    () => (told.completed += 1),
    (error) => told.errors.push(error.code),
    options,
  );
  open.push({ service, id });
  return { service, id, told };
}

/** Let promises and the database go on until something holds. */
async function until(condition: () => unknown, what: string): Promise<void> {
  for (let turn = 0; turn < 2000; turn++) {
    if (await condition()) return;
    await new Promise((resolve) => setImmediate(resolve));
  }
  throw new Error(`never: ${what}`);
}

const online = (told: { statuses: Status[] }) => until(() => told.statuses.at(-1) === 'online', 'online');

test('a whole chat', async () => {
  const { service, id, told } = await chatting();
  await online(told);
  expect(await service.sendMessage(id, 'Hello', { match_count: 3 })).toMatchObject({ run_id: 'run-1' });

  server.write(id, 'Good ', 'morning');
  server.complete(id);

  expect(told).toMatchObject({ text: 'Good morning', messages: ['Hello', 'Good morning'], typing: [true, false], completed: 1 });
  expect(told.statuses).toEqual(['connecting', 'online']);
  expect(server.taken(id)[0]).toMatchObject({ message: 'Hello', context: { match_count: 3 } });
});

describe('a connection that is lost', () => {
  test('goes on behind the last event: no piece is lost or doubled', async () => {
    const { id, told } = await chatting();
    await online(told);
    server.write(id, 'one ');
    server.cut();
    server.write(id, 'two ', 'three ');
    await vi.advanceTimersByTimeAsync(1000);
    await online(told);
    server.write(id, 'four');

    expect(told.text).toBe('one two three four');
    expect(told.statuses).toEqual(['connecting', 'online', 'connecting', 'online']);
  });

  test('is told all anew where no event had come', async () => {
    const onReset = vi.fn();
    const { id, told } = await chatting({ onReset });
    await online(told);
    server.cut();
    server.say(id, 'Meanwhile');
    await vi.advanceTimersByTimeAsync(1000);
    await online(told);

    expect(onReset).toHaveBeenCalledOnce();
    expect(told.messages).toEqual(['Meanwhile']);
  });

  test('is tried after 1, 2, 4, 8 and 16 s, then given up until there is a reason', async () => {
    const { told } = await chatting();
    await online(told);
    server.isDown = true;
    server.cut();
    for (const [attempt, seconds] of [1, 2, 4, 8, 16].entries()) {
      await vi.advanceTimersByTimeAsync(seconds * 1000 - 1);
      expect(server.attempts).toBe(1 + attempt);
      await vi.advanceTimersByTimeAsync(1);
      expect(server.attempts).toBe(2 + attempt);
    }
    expect(told.statuses.at(-1)).toBe('offline');
    await vi.advanceTimersByTimeAsync(600_000);
    expect(server.attempts).toBe(6);

    server.isDown = false;
    page.dispatchEvent(new Event('click'));
    await online(told);
  });

  test.each(['focus', 'online', 'click'])('that was given up is tried again at the event %s', async (reason) => {
    server.isDown = true;
    const { told } = await chatting({ maxReconnectAttempts: 0 });
    await until(() => told.statuses.at(-1) === 'offline', 'given up');
    server.isDown = false;
    page.dispatchEvent(new Event(reason));
    await online(told);
  });

  test('waits at most half a minute', async () => {
    server.isDown = true;
    await chatting({ maxReconnectAttempts: 100, reconnectInterval: 20_000 });
    await until(() => server.attempts === 1, 'tried');
    await vi.advanceTimersByTimeAsync(20_000 + 5 * 30_000);
    expect(server.attempts).toBe(7);
  });

  test('stays so without automatic reconnection', async () => {
    const { told } = await chatting({ enableAutoReconnect: false });
    await online(told);
    server.cut();
    await vi.advanceTimersByTimeAsync(600_000);
    expect(told.statuses.at(-1)).toBe('offline');
    expect(server.attempts).toBe(1);
  });

  test('is left once nothing was heard for two heartbeats', async () => {
    const { told } = await chatting();
    await online(told);
    await vi.advanceTimersByTimeAsync(59_000);
    server.ping();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(server.attempts).toBe(1);
    await vi.advanceTimersByTimeAsync(62_000);
    expect(server.attempts).toBe(2);
  });

  test('is left at once where the browser has no network', async () => {
    const { told } = await chatting();
    await online(told);
    page.dispatchEvent(new Event('offline'));
    expect(told.statuses.at(-1)).toBe('offline');
    page.dispatchEvent(new Event('online'));
    await online(told);
  });
});

describe('messages', () => {
  test('written offline are sent once and in order', async () => {
    const { service, id, told } = await chatting();
    await online(told);
    page.dispatchEvent(new Event('offline'));
    const sent = ['one', 'two', 'three'].map((text) => service.sendMessage(id, text));
    await until(async () => (await service.unsentMessages(id)).length === 3, 'kept');
    expect(server.taken(id)).toEqual([]);

    page.dispatchEvent(new Event('online'));
    expect((await Promise.all(sent)).map((answer) => answer.run_id)).toEqual(['run-1', 'run-2', 'run-3']);
    expect(server.taken(id).map((one) => one.message)).toEqual(['one', 'two', 'three']);
    expect(await service.unsentMessages(id)).toEqual([]);
  });

  test('whose confirmation was lost are sent again under the same name', async () => {
    const { service, id, told } = await chatting();
    await online(told);
    server.losesAnswers = true;
    const sent = service.sendMessage(id, 'Hello');
    await until(() => server.asked.filter((name) => name === 'chat_message').length === 1, 'sent');
    server.losesAnswers = false;
    server.cut();
    await vi.advanceTimersByTimeAsync(1000);
    expect(await sent).toMatchObject({ run_id: 'run-1' });
    expect(server.taken(id)).toHaveLength(1);
  });

  test('survive the page that has written them', async () => {
    const first = await chatting();
    await online(first.told);
    page.dispatchEvent(new Event('offline'));
    void first.service.sendMessage(first.id, 'Kept');
    await until(async () => (await first.service.unsentMessages(first.id)).length === 1, 'kept');
    first.service.disconnectWebSocket(first.id);

    await chatting({}, first.id);
    await until(() => server.taken(first.id).length === 1, 'sent by the next page');
  });

  test('that are refused are told so, and do not hold up the next one', async () => {
    const { service, id, told } = await chatting();
    await online(told);
    server.refuses('chat_message', 'conflict', 1);
    await expect(service.sendMessage(id, 'Too many')).rejects.toMatchObject({ code: 'conflict' });
    expect(await service.sendMessage(id, 'Next')).toMatchObject({ run_id: 'run-1' });
  });

  test('wait where the server has no time for them', async () => {
    const { service, id, told } = await chatting();
    await online(told);
    server.refuses('chat_message', 'too_many', 2);
    const sent = service.sendMessage(id, 'Patience');
    await until(() => server.asked.filter((name) => name === 'chat_message').length === 1, 'refused');
    await vi.advanceTimersByTimeAsync(1000);
    await until(() => server.asked.filter((name) => name === 'chat_message').length === 2, 'refused again');
    await vi.advanceTimersByTimeAsync(2000);
    expect(await sent).toMatchObject({ run_id: 'run-1' });
  });

  test('to a chat without a connection go over REST, under a name as well', async () => {
    const service = new AgentChatService({ server: server.url }, server.connect);
    const { session_id } = await service.createSession();
    const clientId = '6a0a6f4e-3b1f-4f0e-9d6f-0a4d2f3c1b2a';
    for (const _ of [1, 2]) expect(await service.sendMessage(session_id, 'Hello', null, { clientId })).toEqual({ run_id: 'run-1', client_id: clientId });
  });
});

describe('a session that has expired', () => {
  test('is replaced as it is joined, with the handlers and what waits', async () => {
    const { service, id, told } = await chatting();
    await online(told);
    page.dispatchEvent(new Event('offline'));
    const sent = service.sendMessage(id, 'Still there?');
    await until(async () => (await service.unsentMessages(id)).length === 1, 'kept');
    server.expire(id);
    page.dispatchEvent(new Event('online'));
    await sent;

    const [renewed] = told.moved;
    expect(server.taken(renewed!).map((one) => one.message)).toEqual(['Still there?']);
    expect(server.kinds.get(renewed!)).toEqual({ agent_type: 'rag', project_id: 'docs' });
    server.write(renewed!, 'Yes.');
    expect(told.text).toBe('Yes.');
    // The page may go on with the id that it has.
    expect(await service.sendMessage(id, 'Good')).toMatchObject({ run_id: 'run-2' });
  });

  test('is replaced as something is sent', async () => {
    const { service, id, told } = await chatting();
    await online(told);
    server.expire(id);
    expect(await service.sendMessage(id, 'Hello')).toMatchObject({ run_id: 'run-1' });
    expect(told.moved).toHaveLength(1);
    expect(told.errors).toEqual([]);
  });

  test('is told to a page that has not said what to begin', async () => {
    const { told } = await chatting({}, 'unknown');
    await until(() => told.errors.length, 'told');
    expect(told.errors).toEqual(['session_expired']);
    await vi.advanceTimersByTimeAsync(600_000);
    expect(server.attempts).toBe(1);
  });

  test('gives nobody what somebody else has written in this browser', async () => {
    const ada = await chatting({ token: () => jwt({ sub: 'ada' }) });
    await online(ada.told);
    page.dispatchEvent(new Event('offline'));
    void ada.service.sendMessage(ada.id, 'My secret').catch(() => {});
    await until(async () => (await ada.service.unsentMessages(ada.id)).length === 1, 'kept');
    ada.service.disconnectWebSocket(ada.id);
    server.expire(ada.id);

    const bob = await chatting({ token: () => jwt({ sub: 'bob' }), renewAs: { agentType: 'rag' } }, ada.id);
    await online(bob.told);
    expect(await bob.service.sendMessage(ada.id, 'Mine')).toBeDefined();
    expect(server.taken(bob.told.moved[0]!).map((one) => one.message)).toEqual(['Mine']);
  });
});

describe('a token', () => {
  test('that is refused is asked for anew, and makes no new session', async () => {
    const tokens = ['old', 'new'];
    const token = vi.fn(() => tokens.shift() ?? 'new');
    server.accepts = (given) => given === 'new';
    const { told } = await chatting({ token }, 'kept');
    server.begin('kept');
    await until(() => server.attempts === 1, 'refused');
    await vi.advanceTimersByTimeAsync(1000);
    await online(told);
    expect(token).toHaveBeenCalledTimes(2);
    expect(told.moved).toEqual([]);
  });

  test('that a call of the API refuses is asked for anew', async () => {
    const tokens = ['old', 'new'];
    server.accepts = (given) => given === 'new';
    const service = new AgentChatService({ server: server.url, token: () => tokens.shift()! }, server.connect);
    expect(await service.createSession()).toHaveProperty('session_id');
  });

  test('is replaced before it expires, without a gap', async () => {
    let number = 0;
    const token = () => jwt({ sub: 'ada', n: (number += 1), exp: Date.now() / 1000 + 300 });
    const { id, told } = await chatting({ token });
    await online(told);
    server.write(id, 'one ');
    await vi.advanceTimersByTimeAsync(239_000);
    expect(number).toBe(1);
    await vi.advanceTimersByTimeAsync(1000);
    await online(told);
    server.write(id, 'two');
    expect(number).toBe(2);
    expect(told.text).toBe('one two');
  });

  test('of many days is no reason to connect at once', async () => {
    const { told } = await chatting({ token: () => jwt({ sub: 'ada', exp: Date.now() / 1000 + 30 * 86_400 }) });
    await online(told);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(server.attempts).toBe(1);
  });
});
