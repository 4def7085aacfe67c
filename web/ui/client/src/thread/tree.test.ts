import { describe, expect, test } from 'vitest';
import type { Node } from './reducer';
import { countBelow, descend, forksOn, matching, rows, way } from './tree';

/** A tree from lines such as "a: b c". */
function grown(...lines: string[]) {
  const nodes = new Map<string, Node>();
  const children = new Map<string, string[]>();
  const add = (id: string, parentId: string | null) =>
    nodes.set(id, {
      id, parentId, ordinal: 0, preview: `words of ${id}`, author: '', runId: null, runStatus: null, workerId: null,
      label: null, starred: false, createdAt: '',
    });
  add('root', null);
  for (const line of lines) {
    const [parent = '', below = ''] = line.split(': ');
    children.set(parent, below.split(' '));
    for (const id of below.split(' ')) add(id, parent);
  }
  return { nodes, children };
}

const { nodes, children } = grown('root: q', 'q: a1 a2 a3', 'a2: u1 u2', 'u2: b');

test('a way leads from the root to a state', () => {
  expect(way(nodes, 'b')).toEqual(['root', 'q', 'a2', 'u2', 'b']);
  expect(way(nodes, 'unknown')).toEqual([]);
});

test('a fork remembers which child was chosen last, else it is the newest', () => {
  expect(descend(children, {}, 'root')).toBe('a3');
  expect(descend(children, { q: 'a2' }, 'root')).toBe('b');
  expect(descend(children, { q: 'a2', a2: 'u1' }, 'root')).toBe('u1');
  expect(descend(children, { q: 'gone' }, 'root')).toBe('a3');
});

test('forks and what is below are counted', () => {
  expect(forksOn(children, way(nodes, 'b'))).toEqual(['q', 'a2']);
  expect(countBelow(children, 'q')).toBe(6);
  expect(countBelow(children, 'b')).toBe(0);
});

describe('the outline', () => {
  const drawn = rows(nodes, children, 'root', new Set());

  test('goes depth first, the last child in the lane of its parent', () => {
    expect(drawn.map(({ id, lane }) => `${id}${lane}`)).toEqual(['root0', 'q0', 'a11', 'a21', 'u12', 'u21', 'b1', 'a30']);
  });

  test('has no two things in one lane', () => {
    for (const { lane, passing } of drawn) {
      expect(new Set(passing).size).toBe(passing.length);
      expect(passing).not.toContain(lane);
    }
  });

  test('folds what is below', () => {
    const folded = rows(nodes, children, 'root', new Set(['a2']));
    expect(folded.map(({ id }) => id)).toEqual(['root', 'q', 'a1', 'a2', 'a3']);
    expect(folded[3]).toMatchObject({ hidden: 3, goesOn: false });
  });

  test('says where each state stands among its siblings', () => {
    expect(drawn.find(({ id }) => id === 'a2')).toMatchObject({ position: 2, siblings: 3, level: 2 });
  });

  test('of ten thousand states in one line is made without recursion', () => {
    const lines = Array.from({ length: 10_000 }, (_, index) => `${index ? `s${index}` : 'root'}: s${index + 1}`);
    const long = grown(...lines);
    expect(rows(long.nodes, long.children, 'root', new Set())).toHaveLength(10_001);
  });
});

test('a search shows the way to what it finds', () => {
  const { found, shown } = matching(nodes, 'OF B');
  expect([...found]).toEqual(['b']);
  expect([...shown].sort()).toEqual(['a2', 'b', 'q', 'root', 'u2']);
});
