/** A session in words. */
import type { Limit, Session, SessionTransition } from '@branchline/client/api/types';
import { isUnderWay } from '@branchline/client/thread/session';

const STATUS: Record<Session['status'], string> = {
  init: 'Ready',
  running: 'Running',
  waiting: 'Has a question',
  stop: 'Stopped',
  closed: 'Closed',
};

export function statusText(session: Session): string {
  if (session.pausing && isUnderWay(session)) return 'Pausing after this turn';
  return STATUS[session.status];
}

/** Why it does nothing now, or what it waits for; empty if it does something. */
export function reasonText({ status, held, stop_reason, auto }: Session): string {
  if (status === 'init') return auto.enabled ? 'Your message begins the first turn. It then goes on by itself.' : 'Your message begins the first turn.';
  if (held) return `The next turn has not begun yet: ${held}`;
  return status === 'stop' || status === 'closed' ? (stop_reason?.message ?? '') : '';
}

const UNITS: readonly [Limit, (amount: string, one: boolean) => string][] = [
  ['turns', (amount, one) => `${amount} ${one ? 'turn' : 'turns'}`],
  ['seconds', (amount) => `${amount} s`],
  ['tokens', (amount, one) => `${amount} ${one ? 'token' : 'tokens'}`],
  ['cost', (amount) => `cost ${amount}`],
];

export interface Budget {
  name: Limit;
  text: string;
  /** Whether the limit is reached. */
  isSpent: boolean;
}

/** What it has used, against its limits. What is neither limited nor used is left out. */
export function budgets({ used, limits }: Pick<Session, 'used' | 'limits'>): Budget[] {
  return UNITS.flatMap(([name, text]) => {
    const [spent, limit] = [used[name], limits[`max_${name}`]];
    if (limit === null && !spent) return [];
    const amount = spent === null ? '?' : rounded(spent);
    if (limit === null) return { name, text: text(amount, spent === 1), isSpent: false };
    return { name, text: text(`${amount} of ${rounded(limit)}`, limit === 1), isSpent: spent !== null && spent >= limit };
  });
}

function rounded(amount: number): string {
  return amount.toLocaleString('en', { maximumFractionDigits: amount < 1 ? 4 : amount < 100 ? 2 : 0 });
}

const MOVERS: Record<SessionTransition['by'], string> = {
  person: 'by a person',
  turn: 'by the turn',
  auto: 'by itself',
  system: 'by the system',
};

/** What a transition was, and what moved it. */
export function transitionText({ from, to, by }: SessionTransition): string {
  return `${STATUS[from]} → ${STATUS[to]}, ${MOVERS[by]}`;
}
