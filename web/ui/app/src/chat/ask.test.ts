import { beforeEach, expect, test, vi } from 'vitest';
import { complain } from '../ui/notes';
import { ask, type Waiting, type Wish } from './ask';

vi.mock('../ui/keys', () => ({ newKey: () => 'key' }));
vi.mock('../ui/notes', () => ({ complain: vi.fn() }));
vi.mock('../session', () => ({ listsChanged: () => {}, workerName: (id: string) => id.toUpperCase() }));

const WISH: Wish = { threadId: 't', parent: 'root', messages: [{ role: 'user', content: 'Hi' }], workers: ['a', 'b', 'c'], configs: {}, n: 1 };
const asked: string[] = [];

/** A server that refuses to ask some workers, with this status. */
function refusing(workers: string[], status = 422): void {
  vi.stubGlobal('fetch', async (_: string, { body }: { body: string }) => {
    const { worker_id: worker } = JSON.parse(body) as { worker_id: string };
    asked.push(worker);
    if (workers.includes(worker)) return Response.json({ detail: 'It does not fit.' }, { status });
    return Response.json({ input_state: { id: 'question' }, states: [{ id: `of ${worker}` }], runs: [] });
  });
}

function send(signal: AbortSignal, waiting: Waiting = () => {}) {
  return ask(WISH, waiting, signal);
}

beforeEach(() => {
  asked.length = 0;
  vi.mocked(complain).mockClear();
  vi.stubGlobal('addEventListener', () => {});
  vi.stubGlobal('removeEventListener', () => {});
});

test('what one worker refuses is told, and the others are asked all the same', async () => {
  refusing(['b']);
  expect((await send(new AbortController().signal)).outputs).toEqual(['of a', 'of c']);
  expect(vi.mocked(complain).mock.calls).toEqual([[new Error('B was not asked. It does not fit.')]]);
});

test('where the first is refused nobody is asked', async () => {
  refusing(['a']);
  await expect(send(new AbortController().signal)).rejects.toThrow('It does not fit.');
  expect(asked).toEqual(['a']);
});

test('who is asked already stays asked where one waits no longer for the others', async () => {
  refusing(['b'], 503);
  const abort = new AbortController();
  const { outputs } = await send(abort.signal, (problem) => problem && abort.abort());
  expect(outputs).toEqual(['of a']);
  expect(asked).toEqual(['a', 'b']);
  expect(complain).not.toHaveBeenCalled();
});
