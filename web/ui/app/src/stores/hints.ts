/** What the hints of the user's stream change in the stores. */
import type { Hint } from '@branchline/client/live/events';
import { loadActivity, runChanged } from './activity';
import { ingestionChanged } from './knowledge';
import { queryClient } from './queryClient';
import { queuedChanged } from './queued';
import { subRunChanged } from './subRuns';
import { threadListChanged } from './threadLists';
import { trashChanged } from './trash';

export function handleHint(hint: Hint): void {
  if (hint.type === 'reload') {
    void loadActivity();
    void queryClient.invalidateQueries();
  } else if (hint.type === 'run.changed' && hint.thread_id && hint.run_id && hint.status) {
    queuedChanged(hint.run_id);
    subRunChanged(hint.run_id);
    const ended = runChanged(hint.thread_id, hint.run_id, hint.status);
    if (hint.status === 'queued' || ended) threadListChanged(hint.thread_id, 'ran');
    ingestionChanged(ended);
  } else {
    if (hint.thread_id) threadListChanged(hint.thread_id, hint.type === 'thread.deleted' ? 'deleted' : 'changed');
    // A deleted thread is in the trash, and a restored one has left it.
    trashChanged();
  }
}
