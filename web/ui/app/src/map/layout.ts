import type { Node } from '@branchline/client/thread/state';
import { hierarchy, tree } from 'd3-hierarchy';

export interface PlacedNode {
  id: string;
  x: number;
  y: number;
  parent: PlacedNode | null;
}

export const NODE_WIDTH = 208;
export const NODE_HEIGHT = 46;
const COLUMN_WIDTH = NODE_WIDTH + 20;
const ROW_HEIGHT = NODE_HEIGHT + 34;

/** The position of each state, in order from top to bottom. */
export function layout(
  nodes: ReadonlyMap<string, Node>,
  children: ReadonlyMap<string, readonly string[]>,
  root: string | null,
): { placed: PlacedNode[]; byId: Map<string, PlacedNode> } {
  const byId = new Map<string, PlacedNode>();
  if (!root || !nodes.has(root)) return { placed: [], byId };
  const nested = hierarchy(root, (id) => (children.get(id) ?? []).filter((child) => nodes.has(child)));
  const drawn = tree<string>().nodeSize([COLUMN_WIDTH, ROW_HEIGHT]).separation(() => 1)(nested);
  drawn.each((point) => {
    byId.set(point.data, { id: point.data, x: point.x, y: point.y, parent: point.parent ? (byId.get(point.parent.data) ?? null) : null });
  });
  return { placed: [...byId.values()], byId };
}
