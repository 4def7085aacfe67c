import { nextHead, standOf, turnState } from '@branchline/client/thread/session';
import { threadStore } from '@branchline/client/thread/store';
import { useEffect } from 'react';
import { navigate, threadPath } from '../navigation/routes';

/** Show each new turn of the session to whoever has seen where it was before, while they have not moved away. */
export function useFollowSession(): void {
  useEffect(() => {
    const { data } = threadStore.getState();
    let seen = { run: data.session?.run_id, stand: standOf(data) };
    return threadStore.subscribe(({ data, head }, { data: before }) => {
      if (data === before) return;
      const now = { run: data.session?.run_id, stand: standOf(data) };
      const isOpened = !before.cursor || data.threadId !== before.threadId;
      if (isOpened || now.run === seen.run) {
        seen = now;
        return;
      }
      // The session is reported before the states of its turn.
      const turn = turnState(data);
      if (!turn || !data.nodes.has(turn)) return;
      const next = nextHead(data, head, seen.stand);
      seen = now;
      // A long session would fill the browser's history.
      if (next) navigate(threadPath(data.threadId, next), { replace: true });
    });
  }, []);
}
