/** Requests whose parts are of somebody else. */
import { afterEach, expect, test, vi } from 'vitest';
import { Rest } from './rest';

afterEach(() => vi.unstubAllGlobals());

const rest = new Rest({ base: 'https://agents.example.com', refused: () => false });

test('ids stay within their part of an address', async () => {
  const fetch = vi.fn(async (_address: string) => Response.json({ items: [] }));
  vi.stubGlobal('fetch', fetch);
  expect(await rest.passages('a/b', '../c?x=1', 2, 3)).toEqual([]);
  expect(fetch.mock.calls[0]![0]).toBe(
    'https://agents.example.com/api/knowledge/sources/a%2Fb/documents/..%2Fc%3Fx%3D1/passages?first=2&limit=3',
  );
});

test.each([null, {}, { items: 'all' }])('an answer without passages is an error: %j', async (answer) => {
  vi.stubGlobal('fetch', async () => Response.json(answer));
  await expect(rest.passages('a', 'b', 0, 1)).rejects.toThrow('no passages');
});
