/** The thread that is being watched, for components. */
import { threadStore, type ThreadView } from '@branchline/client/thread/store';
import { pathTo } from '@branchline/client/thread/tree';
import { useMemo } from 'react';
import { useStore } from 'zustand';

/** Render again when what the selector returns has changed. */
export function useThread<T>(selector: (state: ThreadView) => T): T {
  return useStore(threadStore, selector);
}

/** The states of the branch that is shown, from the topmost that is known. */
export function usePath(): string[] {
  const nodes = useThread((state) => state.data.nodes);
  const head = useThread((state) => state.head);
  return useMemo(() => pathTo(nodes, head), [nodes, head]);
}
