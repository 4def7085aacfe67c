import { nextHead, turnState } from '@branchline/client/thread/session';
import { threadStore } from '@branchline/client/thread/store';
import { useEffect } from 'react';
import { navigate, threadPath } from '../navigation/routes';

/** Show each new turn of the session to whoever has seen the one before it, while they have not moved away. */
export function useFollowSession(): void {
  useEffect(() => {
    const { data } = threadStore.getState();
    let seen = { run: data.session?.run_id, state: turnState(data) };
    return threadStore.subscribe(({ data, head }, { data: before }) => {
      if (data === before) return;
      const now = { run: data.session?.run_id, state: turnState(data) };
      const isOpened = !before.cursor || data.threadId !== before.threadId;
      if (isOpened || now.run === seen.run) {
        seen = { run: now.run, state: now.state ?? (isOpened ? null : seen.state) };
        return;
      }
      // The session is reported before the states of its turn.
      if (!now.state || !data.nodes.has(now.state)) return;
      const next = nextHead(data, head, seen.state);
      seen = now;
      // A long session would fill the browser's history.
      if (next) navigate(threadPath(data.threadId, next), { replace: true });
    });
  }, []);
}
