import type { SendOptions, SendRequest } from '@branchline/client/thread/actions';
import { beforeEach, expect, test, vi } from 'vitest';
import { notifyError } from '../ui/notifications';
import { send } from './send';

vi.mock('../ui/notifications', () => ({ notifyError: vi.fn() }));
vi.mock('../stores/threadLists', () => ({ threadListChanged: () => {} }));
vi.mock('../stores/workers', () => ({ workerName: (id: string) => id.toUpperCase() }));

const REQUEST: SendRequest = { threadId: 't', parentId: 'root', messages: [{ role: 'user', content: 'Hi' }], workers: ['a', 'b', 'c'], configs: {}, n: 1 };
const requested: string[] = [];

/** A server that refuses to ask some workers, with this status. */
function refusing(workers: string[], status = 422): void {
  vi.stubGlobal('fetch', async (_: string, { body }: { body: string }) => {
    const { worker_id: worker } = JSON.parse(body) as { worker_id: string };
    requested.push(worker);
    if (workers.includes(worker)) return Response.json({ detail: 'It does not fit.' }, { status });
    return Response.json({ input_state: { id: 'question' }, states: [{ id: `of ${worker}` }], runs: [] });
  });
}

beforeEach(() => {
  requested.length = 0;
  vi.mocked(notifyError).mockClear();
  vi.stubGlobal('addEventListener', () => {});
  vi.stubGlobal('removeEventListener', () => {});
});

test('when one worker is refused an error says so, and the others are asked all the same', async () => {
  refusing(['b']);
  expect((await send(REQUEST, { signal: new AbortController().signal })).outputIds).toEqual(['of a', 'of c']);
  expect(vi.mocked(notifyError).mock.calls).toEqual([[new Error('B could not be asked. It does not fit.')]]);
});

test('when the first worker is refused no other is asked', async () => {
  refusing(['a']);
  await expect(send(REQUEST, { signal: new AbortController().signal })).rejects.toThrow('It does not fit.');
  expect(requested).toEqual(['a']);
});

test('what was sent stays sent when waiting for the other workers is aborted', async () => {
  refusing(['b'], 503);
  const abort = new AbortController();
  const onWaiting: SendOptions['onWaiting'] = (problem) => problem && abort.abort();
  const { outputIds } = await send(REQUEST, { signal: abort.signal, onWaiting });
  expect(outputIds).toEqual(['of a']);
  expect(requested).toEqual(['a', 'b']);
  expect(notifyError).not.toHaveBeenCalled();
});
