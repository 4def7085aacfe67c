/** Questions about the tree of a thread: paths, forks, and the rows in which the outline draws it. */
import type { ThreadState } from './state';

type Nodes = ThreadState['nodes'];
type Children = ThreadState['children'];

/** The states from the topmost that is known down to `head`. */
export function pathTo(nodes: Nodes, head: string | null): string[] {
  const path: string[] = [];
  for (let id: string | null | undefined = head; id && nodes.has(id); id = nodes.get(id)?.parentId) path.push(id);
  return path.reverse();
}

/** For each fork, the child that was chosen last. */
export type BranchChoices = Readonly<Record<string, string>>;

/** The leaf below `from`: at each fork follow the child that was chosen last, else the newest. */
export function leafBelow(children: Children, choices: BranchChoices, from: string): string {
  return branchOf(children, choices, from).at(-1) ?? from;
}

/** The states from `from` down to the leaf below it. */
export function branchOf(children: Children, choices: BranchChoices, from: string): string[] {
  const branch = [from];
  for (let id = nextBelow(children, choices, from); id; id = nextBelow(children, choices, id)) branch.push(id);
  return branch;
}

/** The child that was chosen last, else the newest. */
function nextBelow(children: Children, choices: BranchChoices, id: string): string | undefined {
  const below = children.get(id) ?? [];
  const chosen = choices[id];
  return chosen && below.includes(chosen) ? chosen : below.at(-1);
}

export function countDescendants(children: Children, id: string): number {
  let count = 0;
  const stack = [...(children.get(id) ?? [])];
  for (let next = stack.pop(); next; next = stack.pop()) {
    count += 1;
    stack.push(...(children.get(next) ?? []));
  }
  return count;
}

export interface Row {
  id: string;
  /** The column of its dot. */
  lane: number;
  /** The columns in which lines of ancestors pass this row, on their way to a child further down. */
  passingLanes: readonly number[];
  /** The column of its parent's dot; -1 for the first row. */
  parentLane: number;
  /** Whether a child follows in its own column. */
  continues: boolean;
  /** Whether children branch off to the right of it. */
  forks: boolean;
  /** How many descendants are not shown, as the row is collapsed. */
  hidden: number;
  level: number;
  position: number;
  siblings: number;
}

type Visit = Pick<Row, 'id' | 'lane' | 'passingLanes' | 'parentLane' | 'level' | 'position' | 'siblings'>;

/**
 * The rows of the outline, depth first. A parent's last child continues in the parent's column; the
 * children before it are drawn in a column to the right, so that no two lines cross.
 */
export function outlineRows(nodes: Nodes, children: Children, root: string | null, collapsed: ReadonlySet<string>): Row[] {
  const rows: Row[] = [];
  if (!root || !nodes.has(root)) return rows;
  const stack: Visit[] = [{ id: root, lane: 0, passingLanes: [], parentLane: -1, level: 1, position: 1, siblings: 1 }];
  for (let next = stack.pop(); next; next = stack.pop()) {
    const below = (children.get(next.id) ?? []).filter((id) => nodes.has(id));
    const isCollapsed = collapsed.has(next.id) && below.length > 0;
    rows.push({
      ...next,
      continues: below.length > 0 && !isCollapsed,
      forks: below.length > 1 && !isCollapsed,
      hidden: isCollapsed ? countDescendants(children, next.id) : 0,
    });
    if (isCollapsed) continue;
    for (let index = below.length - 1; index >= 0; index -= 1) {
      const last = index === below.length - 1;
      stack.push({
        id: below[index] as string,
        lane: last ? next.lane : next.lane + 1,
        passingLanes: last ? next.passingLanes : [...next.passingLanes, next.lane],
        parentLane: next.lane,
        level: next.level + (last ? 0 : 1),
        position: index + 1,
        siblings: below.length,
      });
    }
  }
  return rows;
}

/** The states whose text or label contains `text`, and those that must be visible to show them: their ancestors too. */
export function searchTree(nodes: Nodes, text: string): { matches: Set<string>; visible: Set<string> } {
  const query = text.trim().toLowerCase();
  const matches = new Set<string>();
  const visible = new Set<string>();
  for (const node of nodes.values()) {
    if (!`${node.preview}\n${node.label ?? ''}`.toLowerCase().includes(query)) continue;
    matches.add(node.id);
    for (let id: string | null | undefined = node.id; id && !visible.has(id); id = nodes.get(id)?.parentId) visible.add(id);
  }
  return { matches, visible };
}

/** Which states of a path are forks. */
export function forksOnPath(children: Children, path: readonly string[]): string[] {
  return path.filter((id) => (children.get(id)?.length ?? 0) > 1);
}
