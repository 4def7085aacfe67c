import { afterEach, expect, test, vi } from 'vitest';
import { dayGroup } from './time';

afterEach(() => vi.unstubAllEnvs());

test('the first and last hour of a day belong to it when the clocks were changed', () => {
  vi.stubEnv('TZ', 'Europe/Berlin');
  // A day of 25 hours, and one of 23.
  for (const [yesterday, today] of [['2026-10-25', '2026-10-26'], ['2026-03-29', '2026-03-30']] as const) {
    const now = new Date(`${today}T12:00:00`);
    expect(dayGroup(new Date(`${yesterday}T00:10:00`).toISOString(), now)).toBe('Yesterday');
    const before = new Date(`${yesterday}T00:00:00`).getTime() - 60_000;
    expect(dayGroup(new Date(before).toISOString(), now)).toBe('This week');
  }
});
