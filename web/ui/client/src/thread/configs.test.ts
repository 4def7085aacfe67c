import { expect, test } from 'vitest';
import type { Run, Thread } from '../api/types';
import { configIn, withConfigs } from './configs';

const THREAD = { id: 't', worker_id: 'echo', config: { piece: 'line' }, metadata: { mine: 1 } } as unknown as Thread;
const NONE = new Map<string, Run>();

function run(id: string, worker_id: string, config: unknown): [string, Run] {
  return [id, { id, worker_id, config } as Run];
}

test('a worker is asked with the configuration of the thread', () => {
  const runs = new Map([run('1', 'echo', { piece: 'word' })]);
  expect(configIn({ thread: THREAD, runs }, 'echo')).toEqual({ piece: 'line' });
});

test('a worker that was not configured in the thread is asked as it was last', () => {
  const runs = new Map([run('2', 'fake', { text: 'new' }), run('1', 'fake', { text: 'old' }), run('3', 'echo', {})]);
  expect(configIn({ thread: THREAD, runs }, 'fake')).toEqual({ text: 'new' });
  expect(configIn({ thread: THREAD, runs: NONE }, 'fake')).toBeUndefined();
});

test('a thread keeps the configurations of several workers', () => {
  const changes = withConfigs(THREAD, { echo: { piece: 'word' }, fake: { text: 'Hi' } });
  expect(changes).toEqual({ worker_id: 'echo', config: { piece: 'word' }, metadata: { mine: 1, configs: { fake: { text: 'Hi' } } } });
  const changed = { ...THREAD, ...changes } as Thread;
  expect(configIn({ thread: changed, runs: NONE }, 'fake')).toEqual({ text: 'Hi' });
  expect(withConfigs(changed, { other: { heat: 1 } })).toEqual({ metadata: { mine: 1, configs: { fake: { text: 'Hi' }, other: { heat: 1 } } } });
});

test('the first worker that is configured becomes that of a thread without one', () => {
  expect(withConfigs({ ...THREAD, worker_id: null }, { fake: {} })).toEqual({ worker_id: 'fake', config: {} });
});
