import './trash.css';
import { api } from '@branchline/client/api/calls';
import type { DeletedThread } from '@branchline/client/api/types';
import { threadTitle } from '@branchline/client/thread/titles';
import { ArchiveRestore, PanelLeftOpen, Trash2 } from 'lucide-react';
import { useState } from 'react';
import { navigate } from '../navigation/routes';
import { setPreferences, usePreferences } from '../stores/preferences';
import { threadListChanged } from '../stores/threadLists';
import { trashChanged, useTrash } from '../stores/trash';
import { Button, IconButton } from '../ui/Button';
import { ConfirmDialog } from '../ui/ConfirmDialog';
import { notify, notifyError } from '../ui/notifications';
import { formatTime } from '../ui/time';
import { useTitle } from '../ui/useTitle';

/** The threads that were deleted: they can be restored, or deleted for good. */
export function TrashPage() {
  const sidebar = usePreferences((state) => state.sidebar);
  const { data, isPending, hasNextPage, isFetchingNextPage, fetchNextPage } = useTrash();
  const threads = data?.pages.flatMap((page) => page.items) ?? [];
  const [emptying, setEmptying] = useState(false);
  useTitle('Trash');
  return (
    <section className="settings trash" aria-labelledby="trash-title">
      <header>
        {!sidebar && <IconButton label="Show sidebar" icon={PanelLeftOpen} onClick={() => setPreferences({ sidebar: true })} />}
        <h1 id="trash-title">Trash</h1>
        <span className="grow" />
        {threads.length > 0 && <Button icon={Trash2} onClick={() => setEmptying(true)}>Empty trash</Button>}
      </header>
      {threads.length > 0 && <p className="lead">Deleted threads can be restored for some time. Then they are deleted for good.</p>}
      {!threads.length && <p className="quiet">{isPending ? 'Loading …' : 'The trash is empty.'}</p>}
      <ul className="trash-list" aria-label="Deleted threads">
        {threads.map((thread) => <TrashRow key={thread.id} thread={thread} />)}
      </ul>
      {hasNextPage && <Button disabled={isFetchingNextPage} onClick={() => void fetchNextPage()}>Show more</Button>}
      {emptying && (
        <ConfirmDialog title="Empty the trash?" action="Delete all for good" onClose={() => setEmptying(false)} onConfirm={() => void change(api.emptyTrash())}>
          All threads in the trash are deleted, with all of their messages. This cannot be undone.
        </ConfirmDialog>
      )}
    </section>
  );
}

function TrashRow({ thread }: { thread: DeletedThread }) {
  const [deleting, setDeleting] = useState(false);
  const title = threadTitle(thread);
  return (
    <li>
      <span>
        <strong dir="auto">{title}</strong>
        <small>Deleted {formatTime(thread.deleted_at)}, can be restored until {formatTime(thread.restorable_until)}</small>
      </span>
      <Button icon={ArchiveRestore} aria-label={`Restore ${title}`} onClick={() => void restore(thread)}>Restore</Button>
      <IconButton label={`Delete ${title} for good`} icon={Trash2} onClick={() => setDeleting(true)} />
      {deleting && (
        <ConfirmDialog title="Delete for good?" action="Delete for good" onClose={() => setDeleting(false)} onConfirm={() => void change(api.deleteForGood(thread.id))}>
          “<bdi>{title}</bdi>” is deleted with all of its messages. This cannot be undone.
        </ConfirmDialog>
      )}
    </li>
  );
}

async function restore(thread: DeletedThread): Promise<void> {
  if (!(await change(api.restoreThread(thread.id)))) return;
  threadListChanged(thread.id);
  notify(`“${threadTitle(thread)}” restored`, { name: 'Open', act: () => navigate(`/t/${thread.id}`) });
}

/** Wait for a change of the trash, then read it again. Returns whether the change was made. */
async function change(request: Promise<unknown>): Promise<boolean> {
  try {
    await request;
    return true;
  } catch (error) {
    notifyError(error);
    return false;
  } finally {
    trashChanged();
  }
}
