import { api } from '@branchline/client/api/calls';
import type { Thread } from '@branchline/client/api/types';
import { applyThread } from '@branchline/client/thread/store';
import { threadTitle } from '@branchline/client/thread/titles';
import { Archive, ArchiveRestore, FileJson, FileText, Pencil, Trash2 } from 'lucide-react';
import { threadListChanged } from '../stores/threadLists';
import { MenuItem, MenuLabel, MenuSeparator } from '../ui/Menu';
import { notify, notifyError } from '../ui/notifications';

/** What can be done with a thread, and with the branch to `head` if there is one. */
export function ThreadMenu({ thread, head, onRename, onGone }: { thread: Thread; head?: string | null; onRename: () => void; onGone: () => void }) {
  const archived = thread.status === 'archived';
  return (
    <>
      <MenuItem icon={Pencil} onSelect={onRename}>Rename</MenuItem>
      <MenuItem icon={archived ? ArchiveRestore : Archive} onSelect={() => void setArchived(thread, !archived)}>
        {archived ? 'Back to the list' : 'Archive'}
      </MenuItem>
      <MenuSeparator />
      {head && (
        <>
          <MenuLabel>Export this path</MenuLabel>
          <Exports thread={thread.id} state={head} />
        </>
      )}
      <MenuLabel>Export the whole tree</MenuLabel>
      <Exports thread={thread.id} />
      <MenuSeparator />
      <MenuItem icon={Trash2} danger onSelect={() => void remove(thread).then(onGone, () => {})}>Delete</MenuItem>
    </>
  );
}

function Exports({ thread, state }: { thread: string; state?: string }) {
  const what = state ? 'path' : 'tree';
  return (
    <>
      <MenuItem icon={FileText} name={`Export the ${what} as Markdown`} onSelect={() => location.assign(api.exportUrl(thread, 'markdown', state))}>as Markdown</MenuItem>
      <MenuItem icon={FileJson} name={`Export the ${what} as JSON`} onSelect={() => location.assign(api.exportUrl(thread, 'json', state))}>as JSON</MenuItem>
    </>
  );
}

async function setArchived(thread: Thread, archived: boolean): Promise<void> {
  try {
    applyThread(await api.updateThread(thread.id, { status: archived ? 'archived' : 'active' }));
    threadListChanged(thread.id);
    notify(archived ? 'Archived' : 'Back in the list', { name: 'Undo', act: () => void setArchived(thread, !archived) });
  } catch (error) {
    notifyError(error);
  }
}

async function remove(thread: Thread): Promise<void> {
  try {
    await api.deleteThread(thread.id);
    threadListChanged(thread.id, 'deleted');
    notify(`“${threadTitle(thread)}” is deleted`, {
      name: 'Undo',
      act: () => void api.restoreThread(thread.id).then(() => threadListChanged(thread.id), notifyError),
    });
  } catch (error) {
    notifyError(error);
    throw error;
  }
}
