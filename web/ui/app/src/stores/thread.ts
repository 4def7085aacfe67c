/** The thread that is being watched, for components. */
import { threadStore, type Watched } from '@branchline/client/thread/store';
import { useStore } from 'zustand';

/** Draw again when what the selector returns has changed. */
export function useThread<T>(selector: (state: Watched) => T): T {
  return useStore(threadStore, selector);
}
