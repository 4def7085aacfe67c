/** How long to wait before something is tried again: twice as long each time, and for no two alike. */

/** Milliseconds. */
const LONGEST = 30_000;

/** Milliseconds before the attempt of this number, which counts from 1: from `first` on, up to half a minute. */
export function backoff(attempt: number, first: number): number {
  const wait = first * 2 ** (attempt - 1) * (1 + Math.random() / 2);
  return Math.min(wait, LONGEST);
}
