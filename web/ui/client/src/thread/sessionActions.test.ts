import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Run, Session } from '../api/types';
import { sendQueuedToSessionNow, sendToSession } from './sessionActions';
import { emptyThread } from './state';
import { threadStore } from './store';

const RUN = { id: 'r', thread_id: 't', output_state_id: 'answer', status: 'running', attempt: 1 } as Run;
const SESSION = { id: 's', thread_id: 't', status: 'running', revision: 2, run_id: 'r' } as Session;

const requests: string[] = [];

/** A server that gives these answers, by method and path, and cannot be reached for others. */
function answering(answers: Record<string, object>): void {
  vi.stubGlobal('fetch', async (path: string, { method }: { method: string }) => {
    requests.push(`${method} ${path.split('?')[0]}`);
    const answer = answers[`${method} ${path.split('?')[0]}`];
    if (!answer) throw new TypeError('unreachable');
    return Response.json(answer);
  });
}

beforeEach(() => {
  requests.length = 0;
  threadStore.setState({ data: emptyThread('t') });
});

afterEach(() => vi.unstubAllGlobals());

test('messages are sent once, also where what they have begun cannot be read', async () => {
  answering({ 'POST /api/threads/t/session/messages': { session: SESSION, run: RUN } });
  const options = { signal: new AbortController().signal };
  expect(await sendToSession('t', [{ role: 'user', content: 'Hi' }], options)).toEqual(RUN);
  expect(requests).toEqual(['POST /api/threads/t/session/messages', 'GET /api/states/answer/messages']);
  expect(threadStore.getState().data.session).toEqual(SESSION);
});

test('to send now, the turn is stopped and the session goes on with what waits', async () => {
  answering({
    'POST /api/runs/r/cancel': { run: { ...RUN, status: 'cancelled' } },
    'POST /api/threads/t/session/stop': { session: SESSION },
    'GET /api/runs/r/messages': { items: [{ id: 'm' }], next: null },
    'POST /api/threads/t/session/resume': { session: SESSION },
  });
  await sendQueuedToSessionNow(RUN);
  expect(requests.at(-1)).toBe('POST /api/threads/t/session/resume');
});

test('a turn that has succeeded meanwhile is followed by the next one, which is not stopped', async () => {
  answering({ 'POST /api/runs/r/cancel': { run: { ...RUN, status: 'success' } } });
  await sendQueuedToSessionNow(RUN);
  expect(requests).toEqual(['POST /api/runs/r/cancel']);
});

test('a session whose messages were all read does not go on with its prompt', async () => {
  answering({ 'GET /api/runs/r/messages': { items: [], next: null } });
  await sendQueuedToSessionNow({ ...RUN, status: 'error' });
  expect(requests).toEqual(['GET /api/runs/r/messages']);
});
