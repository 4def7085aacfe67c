import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { QueuedMessage, Run } from '../api/types';
import { queueMessages, removeQueued, sendQueuedNow } from './actions';

const RUN = { id: 'r', thread_id: 't', output_state_id: 'answer', worker_id: 'echo', config: { delay_ms: 5 }, status: 'running' } as unknown as Run;
const WAITING = [queued('a', 'And birds?'), queued('b', 'And fish?')];

function queued(id: string, content: string): QueuedMessage {
  return { id, run_id: 'r', role: 'user', type: 'text', channel: 'answer', author: null, content, data: {}, files: [], created_at: '' };
}

type Answers = Record<string, (body: unknown) => Response>;
const requests: [string, unknown, string | undefined][] = [];

/** A server that gives these answers, by method and path. */
function answering(answers: Answers): void {
  vi.stubGlobal('fetch', async (path: string, { method, body, headers }: { method: string; body: string | null; headers: Record<string, string> }) => {
    const given: unknown = body ? JSON.parse(body) : null;
    requests.push([`${method} ${path}`, given, headers['Idempotency-Key']]);
    const answer = answers[`${method} ${path}`];
    if (!answer) throw new Error(`unexpected: ${method} ${path}`);
    return answer(given);
  });
}

const gone = () => new Response(null, { status: 204 });
const accepted = () => Response.json({ input_state: { id: 'question' }, states: [{ id: 'next' }], runs: [] });
const endedAs = (status: string) => () => Response.json({ run: { ...RUN, status } });
const REMOVALS: Answers = { 'DELETE /api/runs/r/messages/a': gone, 'DELETE /api/runs/r/messages/b': gone };

beforeEach(() => {
  requests.length = 0;
});

afterEach(() => vi.unstubAllGlobals());

test('to send now, the run is stopped and what still waits is answered by the same worker', async () => {
  answering({
    'POST /api/runs/r/cancel': endedAs('cancelled'),
    'GET /api/runs/r/messages': () => Response.json({ items: WAITING, next: null }),
    'POST /api/threads/t/runs': accepted,
    ...REMOVALS,
  });

  expect(await sendQueuedNow(RUN)).toEqual({ threadId: 't', inputId: 'question', outputIds: ['next'] });

  const [cancel, , create, ...removals] = requests;
  expect(cancel).toEqual(['POST /api/runs/r/cancel', { wait: 30 }, undefined]);
  expect(create?.[1]).toMatchObject({ input_state_id: 'answer', worker_id: 'echo', config: { delay_ms: 5 } });
  expect((create?.[1] as { messages: { content: string }[] }).messages.map(({ content }) => content)).toEqual(['And birds?', 'And fish?']);
  expect(removals.map(([call]) => call)).toEqual(['DELETE /api/runs/r/messages/a', 'DELETE /api/runs/r/messages/b']);
});

test('to send the same messages now from two tabs is one request to the server', async () => {
  answering({
    'GET /api/runs/r/messages': () => Response.json({ items: WAITING, next: null }),
    'POST /api/threads/t/runs': accepted,
    ...REMOVALS,
  });
  const ended = { ...RUN, status: 'cancelled' } as Run;

  await Promise.all([sendQueuedNow(ended), sendQueuedNow(ended)]);

  const keys = requests.filter(([call]) => call === 'POST /api/threads/t/runs').map(([, , key]) => key);
  expect(keys).toEqual(['queued a b 2', 'queued a b 2']);
});

test('what a run that has succeeded left is not sent a second time', async () => {
  answering({ 'POST /api/runs/r/cancel': endedAs('success') });
  expect(await sendQueuedNow(RUN)).toBeNull();
});

test('nothing is sent while the run has not ended', async () => {
  answering({ 'POST /api/runs/r/cancel': endedAs('running') });
  await expect(sendQueuedNow(RUN)).rejects.toThrow('could not be stopped yet');
});

test.each([[204, true], [404, false], [409, false]])('a removal that is answered %i is %s', async (status, removed) => {
  answering({ 'DELETE /api/runs/r/messages/a': () => (status === 204 ? gone() : Response.json({ detail: 'No.' }, { status })) });
  expect(await removeQueued(queued('a', ''))).toBe(removed);
});

test('a message is queued once, however often it has to be sent', async () => {
  vi.stubGlobal('addEventListener', () => {});
  vi.stubGlobal('removeEventListener', () => {});
  let tries = 0;
  answering({
    'POST /api/runs/r/messages': () =>
      (tries += 1) === 1 ? Response.json({ detail: 'Busy.' }, { status: 503 }) : Response.json({ messages: WAITING }, { status: 202 }),
  });

  expect(await queueMessages(RUN, [{ role: 'user', content: 'And birds?' }], { signal: new AbortController().signal })).toEqual(WAITING);

  const [first, second] = requests;
  expect(first?.[2]).toBeTruthy();
  expect(second).toEqual(first);
});
