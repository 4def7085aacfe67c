import { threadStore } from '@branchline/client/thread/store';
import { forksOnPath, pathTo } from '@branchline/client/thread/tree';

const NEAR = 30;

/** Look at the fork before or after the one that is in the middle of the view. */
export function toFork(step: 1 | -1): void {
  const { data, head } = threadStore.getState();
  if (!head) return;
  const states = pathTo(data.nodes, head);
  const forks = forksOnPath(data.children, states).map((id) => states[states.indexOf(id) + 1]).filter((id): id is string => !!id);
  const box = document.querySelector('.conversation')?.getBoundingClientRect();
  if (!box || !forks.length) return;
  const top = (id: string) => document.querySelector(`[data-state="${id}"]`)?.getBoundingClientRect().top;
  // The one that stands at the top already is neither before nor after.
  const next = step > 0 ? forks.find((id) => (top(id) ?? -Infinity) > box.top + NEAR) : forks.findLast((id) => (top(id) ?? -Infinity) < box.top - NEAR);
  if (next) document.querySelector(`[data-state="${next}"]`)?.scrollIntoView({ block: 'start' });
}
