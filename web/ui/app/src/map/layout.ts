import type { Node } from '@branchline/client/thread/state';
import { hierarchy, tree } from 'd3-hierarchy';

export interface Placed {
  id: string;
  x: number;
  y: number;
  parent: Placed | null;
}

export const WIDTH = 208;
export const HEIGHT = 46;
const BESIDE = WIDTH + 20;
const BELOW = HEIGHT + 34;

/** Where each state stands, in order from top to bottom. */
export function layout(
  nodes: ReadonlyMap<string, Node>,
  children: ReadonlyMap<string, readonly string[]>,
  root: string | null,
): { placed: Placed[]; byId: Map<string, Placed> } {
  const byId = new Map<string, Placed>();
  if (!root || !nodes.has(root)) return { placed: [], byId };
  const whole = hierarchy(root, (id) => (children.get(id) ?? []).filter((child) => nodes.has(child)));
  const drawn = tree<string>().nodeSize([BESIDE, BELOW]).separation(() => 1)(whole);
  drawn.each((point) => {
    byId.set(point.data, { id: point.data, x: point.x, y: point.y, parent: point.parent ? (byId.get(point.parent.data) ?? null) : null });
  });
  return { placed: [...byId.values()], byId };
}
