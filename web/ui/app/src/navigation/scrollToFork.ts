import { threadStore } from '@branchline/client/thread/store';
import { forksOnPath, pathTo } from '@branchline/client/thread/tree';

/** Pixels by which a fork may be off the upper edge and still count as being there. */
const TOLERANCE = 30;

/** Scroll to the next fork, or with -1 to the previous one, counted from the upper edge of the chat. */
export function scrollToFork(step: 1 | -1): void {
  const { data, head } = threadStore.getState();
  if (!head) return;
  const path = pathTo(data.nodes, head);
  const forks = forksOnPath(data.children, path).map((id) => path[path.indexOf(id) + 1]).filter((id): id is string => !!id);
  const box = document.querySelector('.conversation')?.getBoundingClientRect();
  if (!box || !forks.length) return;
  const top = (id: string) => document.querySelector(`[data-state="${id}"]`)?.getBoundingClientRect().top;
  // A fork at the upper edge is the current one, neither next nor previous.
  const next = step > 0 ? forks.find((id) => (top(id) ?? -Infinity) > box.top + TOLERANCE) : forks.findLast((id) => (top(id) ?? -Infinity) < box.top - TOLERANCE);
  if (next) document.querySelector(`[data-state="${next}"]`)?.scrollIntoView({ block: 'start' });
}
