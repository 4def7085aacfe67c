import { expect, test } from 'vitest';
import { queueText } from './queueText';

const QUEUE = {
  position: 2, pool: 'python', pool_seen: true, slots: 4, busy: 4, reason: 'ahead', message: '', not_before: null, retry_after: null,
} as const;
const RUN = { failures: 1, max_attempts: 3 };

test.each([
  [12, 0, 'in 12 s'],
  [11.9, 3.1, 'in 9 s'],
  [12, 13, 'now'],
  [270, 0, 'in 5 min'],
])('a run that is tried again %d s after the server said so, %d s ago, says when', (retry_after, waited, when) => {
  const text = queueText(RUN, { ...QUEUE, reason: 'backoff', retry_after }, waited);
  expect(text).toBe(`Trying again ${when} (2 of 3).`);
});

test('a run that waits for its turn says its position', () => {
  expect(queueText({ ...RUN, failures: 0 }, QUEUE)).toBe('Queued: position 2');
});
