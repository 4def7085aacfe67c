import { expect, test } from 'vitest';
import { Pauses } from './pauses';

test('what has not changed is read again ever later, and at once when it has', () => {
  const pauses = new Pauses();
  const data = {};
  const read = [1, 2, 3, 4, 5, 6, 7].map((dataUpdateCount) => pauses.after({ data, dataUpdateCount }));

  expect(read).toEqual([1000, 2000, 4000, 8000, 8000, 8000, 8000]);
  expect(pauses.after({ data: {}, dataUpdateCount: 8 })).toBe(1000);
});

test('to ask twice about the same reading changes nothing', () => {
  const pauses = new Pauses();
  const read = { data: {}, dataUpdateCount: 1 };

  expect([pauses.after(read), pauses.after(read)]).toEqual([1000, 1000]);
});
