import { describe, expect, test } from 'vitest';
import type { Node } from './state';
import { countDescendants, forksOnPath, leafBelow, outlineRows, pathTo, searchTree } from './tree';

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

test('a path leads from the root to a state', () => {
  expect(pathTo(nodes, 'b')).toEqual(['root', 'q', 'a2', 'u2', 'b']);
  expect(pathTo(nodes, 'unknown')).toEqual([]);
});

test('a fork remembers which child was chosen last, else it is the newest', () => {
  expect(leafBelow(children, {}, 'root')).toBe('a3');
  expect(leafBelow(children, { q: 'a2' }, 'root')).toBe('b');
  expect(leafBelow(children, { q: 'a2', a2: 'u1' }, 'root')).toBe('u1');
  expect(leafBelow(children, { q: 'gone' }, 'root')).toBe('a3');
});

test('forks and what is below are counted', () => {
  expect(forksOnPath(children, pathTo(nodes, 'b'))).toEqual(['q', 'a2']);
  expect(countDescendants(children, 'q')).toBe(6);
  expect(countDescendants(children, 'b')).toBe(0);
});

describe('the outline', () => {
  const drawn = outlineRows(nodes, children, 'root', new Set());

  test('goes depth first, the last child in the lane of its parent', () => {
    expect(drawn.map(({ id, lane }) => `${id}${lane}`)).toEqual(['root0', 'q0', 'a11', 'a21', 'u12', 'u21', 'b1', 'a30']);
  });

  test('has no two things in one lane', () => {
    for (const { lane, passingLanes } of drawn) {
      expect(new Set(passingLanes).size).toBe(passingLanes.length);
      expect(passingLanes).not.toContain(lane);
    }
  });

  test('hides what is below a collapsed state', () => {
    const folded = outlineRows(nodes, children, 'root', new Set(['a2']));
    expect(folded.map(({ id }) => id)).toEqual(['root', 'q', 'a1', 'a2', 'a3']);
    expect(folded[3]).toMatchObject({ hidden: 3, continues: false });
  });

  test('has the position of each state among its siblings', () => {
    expect(drawn.find(({ id }) => id === 'a2')).toMatchObject({ position: 2, siblings: 3, level: 2 });
  });

  test('of ten thousand states in one line is made without recursion', () => {
    const lines = Array.from({ length: 10_000 }, (_, index) => `${index ? `s${index}` : 'root'}: s${index + 1}`);
    const long = grown(...lines);
    expect(outlineRows(long.nodes, long.children, 'root', new Set())).toHaveLength(10_001);
  });
});

test('a search shows the path to what it finds', () => {
  const { matches, visible } = searchTree(nodes, 'OF B');
  expect([...matches]).toEqual(['b']);
  expect([...visible].sort()).toEqual(['a2', 'b', 'q', 'root', 'u2']);
});
