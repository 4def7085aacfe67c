/** Questions about the tree of a thread: ways, forks, and how the outline draws it. */
import type { ThreadState } from './reducer';

type Nodes = ThreadState['nodes'];
type Children = ThreadState['children'];

/** The states from the topmost that is known down to `head`. */
export function way(nodes: Nodes, head: string | null): string[] {
  const found: string[] = [];
  for (let id: string | null | undefined = head; id && nodes.has(id); id = nodes.get(id)?.parentId) found.push(id);
  return found.reverse();
}

export type Choices = Readonly<Record<string, string>>;

/** The end of the branch below `from`: at each fork the child that was chosen last, else the newest. */
export function descend(children: Children, choices: Choices, from: string): string {
  let at = from;
  for (;;) {
    const below = children.get(at);
    if (!below?.length) return at;
    const chosen = choices[at];
    at = chosen && below.includes(chosen) ? chosen : (below.at(-1) as string);
  }
}

/** How many states are below `id`. */
export function countBelow(children: Children, id: string): number {
  let count = 0;
  const todo = [...(children.get(id) ?? [])];
  for (let next = todo.pop(); next; next = todo.pop()) {
    count += 1;
    todo.push(...(children.get(next) ?? []));
  }
  return count;
}

export interface Row {
  id: string;
  /** The column of its dot. */
  lane: number;
  /** Columns of ancestors whose last child is still to come below this row. */
  passing: readonly number[];
  /** The column of its parent's dot; -1 for the first row. */
  from: number;
  /** Whether a child in its own column follows. */
  goesOn: boolean;
  /** Whether children branch off to the right of it. */
  forks: boolean;
  hidden: number;
  level: number;
  position: number;
  siblings: number;
}

/**
 * The rows of the outline, depth first. A parent's last child goes on in the parent's column; those
 * before it are beside it, each in a column to the right, so that no two lines cross.
 */
export function rows(nodes: Nodes, children: Children, root: string | null, collapsed: ReadonlySet<string>): Row[] {
  const result: Row[] = [];
  if (!root || !nodes.has(root)) return result;
  type Todo = { id: string; lane: number; passing: readonly number[]; from: number; level: number; position: number; siblings: number };
  const todo: Todo[] = [{ id: root, lane: 0, passing: [], from: -1, level: 1, position: 1, siblings: 1 }];
  for (let next = todo.pop(); next; next = todo.pop()) {
    const below = (children.get(next.id) ?? []).filter((id) => nodes.has(id));
    const shut = collapsed.has(next.id) && below.length > 0;
    result.push({
      ...next,
      goesOn: below.length > 0 && !shut,
      forks: below.length > 1 && !shut,
      hidden: shut ? countBelow(children, next.id) : 0,
    });
    if (shut) continue;
    for (let index = below.length - 1; index >= 0; index -= 1) {
      const last = index === below.length - 1;
      todo.push({
        id: below[index] as string,
        lane: last ? next.lane : next.lane + 1,
        passing: last ? next.passing : [...next.passing, next.lane],
        from: next.lane,
        level: next.level + (last ? 0 : 1),
        position: index + 1,
        siblings: below.length,
      });
    }
  }
  return result;
}

/** The states whose words or name contain `text`, and all their ancestors. */
export function matching(nodes: Nodes, text: string): { found: Set<string>; shown: Set<string> } {
  const wanted = text.trim().toLowerCase();
  const found = new Set<string>();
  const shown = new Set<string>();
  for (const node of nodes.values()) {
    if (!`${node.preview}\n${node.label ?? ''}`.toLowerCase().includes(wanted)) continue;
    found.add(node.id);
    for (let id: string | null | undefined = node.id; id && !shown.has(id); id = nodes.get(id)?.parentId) shown.add(id);
  }
  return { found, shown };
}

/** Which states of the way are forks. */
export function forksOn(children: Children, states: readonly string[]): string[] {
  return states.filter((id) => (children.get(id)?.length ?? 0) > 1);
}
