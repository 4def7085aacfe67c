import { api } from '@branchline/client/api/calls';
import type { Thread } from '@branchline/client/api/types';
import { applyThread } from '@branchline/client/thread/store';
import { threadTitle } from '@branchline/client/thread/titles';
import { Archive, ArchiveRestore, FileArchive, FileJson, FileText, Pencil, Repeat, Trash2 } from 'lucide-react';
import { threadListChanged } from '../stores/threadLists';
import { MenuItem, MenuLabel, MenuSeparator } from '../ui/Menu';
import { notify, notifyError } from '../ui/notifications';

/** What can be done with a thread, and with the branch to `head` if there is one. */
export function ThreadMenu({ thread, head, onRename, onGone, onSession }: {
  thread: Thread;
  head?: string | null;
  onRename: () => void;
  onGone: () => void;
  /** Where the thread can be given a session. */
  onSession?: (() => void) | undefined;
}) {
  const archived = thread.status === 'archived';
  return (
    <>
      <MenuItem icon={Pencil} onSelect={onRename}>Rename</MenuItem>
      <MenuItem icon={archived ? ArchiveRestore : Archive} onSelect={() => void setArchived(thread, !archived)}>
        {archived ? 'Unarchive' : 'Archive'}
      </MenuItem>
      {onSession && <MenuItem icon={Repeat} onSelect={onSession}>Let it go on by itself …</MenuItem>}
      <MenuSeparator />
      {head && (
        <>
          <MenuLabel>Export this branch</MenuLabel>
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
  const what = state ? 'this branch' : 'the whole tree';
  return (
    <>
      <MenuItem icon={FileText} name={`Export ${what} as Markdown`} onSelect={() => location.assign(api.exportUrl(thread, 'markdown', state))}>Markdown</MenuItem>
      <MenuItem icon={FileJson} name={`Export ${what} as JSON`} onSelect={() => location.assign(api.exportUrl(thread, 'json', state))}>JSON</MenuItem>
      <MenuItem icon={FileArchive} name={`Export ${what} with files`} onSelect={() => location.assign(api.exportUrl(thread, 'zip', state))}>With files (ZIP)</MenuItem>
    </>
  );
}

async function setArchived(thread: Thread, archived: boolean): Promise<void> {
  try {
    applyThread(await api.updateThread(thread.id, { status: archived ? 'archived' : 'active' }));
    threadListChanged(thread.id);
    notify(archived ? 'Thread archived' : 'Thread unarchived', { name: 'Undo', act: () => void setArchived(thread, !archived) });
  } catch (error) {
    notifyError(error);
  }
}

async function remove(thread: Thread): Promise<void> {
  try {
    await api.deleteThread(thread.id);
    threadListChanged(thread.id, 'deleted');
    notify(`“${threadTitle(thread)}” deleted`, {
      name: 'Undo',
      act: () => void api.restoreThread(thread.id).then(() => threadListChanged(thread.id), notifyError),
    });
  } catch (error) {
    notifyError(error);
    throw error;
  }
}
