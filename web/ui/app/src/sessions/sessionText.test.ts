import type { Session } from '@branchline/client/api/types';
import { expect, test } from 'vitest';
import { budgets, reasonText, statusText } from './sessionText';

const NO_LIMITS: Session['limits'] = { max_turns: null, max_seconds: null, max_tokens: null, max_cost: null };
const USED: Session['used'] = { turns: 1, seconds: 12.345, tokens: 0, cost: null };

function session(changes: Partial<Session>): Session {
  return { status: 'stop', pausing: false, held: null, stop_reason: null, auto: { enabled: true, prompt: null }, ...changes } as Session;
}

test('what is used is shown, and what is limited', () => {
  expect(budgets({ used: USED, limits: NO_LIMITS }).map(({ text }) => text)).toEqual(['1 turn', '12.35 s']);
  const limited = budgets({ used: USED, limits: { ...NO_LIMITS, max_turns: 25, max_tokens: 5000, max_cost: 0.5 } });
  expect(limited.map(({ text }) => text)).toEqual(['1 of 25 turns', '12.35 s', '0 of 5,000 tokens', 'cost ? of 0.5']);
  expect(limited.filter(({ isSpent }) => isSpent)).toEqual([]);
  expect(budgets({ used: USED, limits: { ...NO_LIMITS, max_turns: 1 } })[0]).toEqual({ name: 'turns', text: '1 of 1 turn', isSpent: true });
});

test('a session says why it has stopped, and what holds its next turn', () => {
  const stop_reason = { code: 'max_turns' as const, message: 'It has taken 25 turns.' };
  expect(reasonText(session({ stop_reason }))).toBe('It has taken 25 turns.');
  expect(reasonText(session({ status: 'running', held: 'the queue is full.' }))).toBe('The next turn has not begun yet: the queue is full.');
  expect(reasonText(session({ status: 'running' }))).toBe('');
  expect(statusText(session({ status: 'running', pausing: true }))).toBe('Pausing after this turn');
});
