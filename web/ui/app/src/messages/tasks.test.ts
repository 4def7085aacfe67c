import { expect, test } from 'vitest';
import { HEIGHT, WIDTH, edge, hoursText, layout, planOf } from './tasks';

const task = (id: string, ...depends_on: string[]) => ({ id, title: `Do ${id}`, description: '', estimate_hours: 2, depends_on });
const plan = (...tasks: unknown[]) => planOf({ data: { tasks, longest_chain: ['a', 'b'], longest_chain_hours: 4 } });

test('a message has its plan, or none', () => {
  expect(plan(task('a'), task('b', 'a'))).toMatchObject({ totalHours: 4, chainHours: 4, chain: new Set(['a', 'b']), tasks: [{ id: 'a', hours: 2, after: [] }, { id: 'b', after: ['a'] }] });
  for (const tasks of [undefined, [], ['a'], [null], [{ ...task('a'), estimate_hours: '2' }], [{ id: 'a' }]]) expect(planOf({ data: { tasks } })).toBeNull();
});

test('a task is below those before it, and beside those of its row', () => {
  const { placed, width, height } = layout(plan(task('a'), task('b'), task('c', 'a'), task('d', 'b', 'c'), task('e', 'x', 'e'))?.tasks ?? []);
  const row = (id: string) => placed.find((one) => one.task.id === id)?.y;
  expect([row('a'), row('b'), row('e')]).toEqual([0, 0, 0]);
  expect(row('d')).toBeGreaterThan(row('c') ?? 0);
  for (const one of placed) {
    expect(one.x >= 0 && one.x + WIDTH <= width && one.y + HEIGHT <= height).toBe(true);
    for (const other of placed) expect(one === other || one.y !== other.y || Math.abs(one.x - other.x) >= WIDTH).toBe(true);
  }
  const [a, , , c] = placed;
  expect(edge(a as typeof placed[0], c as typeof placed[0])).toMatch(/^M\d/);
});

test('hours', () => {
  expect([2, 2.25, 0.04].map(hoursText)).toEqual(['2 h', '2.3 h', '0 h']);
});
