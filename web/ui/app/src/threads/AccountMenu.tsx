import { api } from '@branchline/client/api/calls';
import { Archive, LibraryBig, LogOut, Settings, Trash2, Upload, UserRound } from 'lucide-react';
import { useRef } from 'react';
import { useLocation } from 'wouter';
import { openOverlay } from '../stores/overlay';
import { clearUserData } from '../stores/preferences';
import { signedOut, useSession } from '../stores/session';
import { threadListChanged } from '../stores/threadLists';
import { MODIFIER } from '../ui/keys';
import { Menu, MenuItem, MenuSeparator } from '../ui/Menu';
import { notifyError } from '../ui/notifications';

/** What concerns the account and all of its threads. */
export function AccountMenu({ archived, onArchive }: { archived: boolean; onArchive: () => void }) {
  const user = useSession((state) => state.user);
  const [, navigate] = useLocation();
  const file = useRef<HTMLInputElement>(null);
  const signOut = async () => {
    try {
      await api.signOut();
      signedOut();
      clearUserData();
      navigate('/login');
    } catch (error) {
      notifyError(error);
    }
  };
  const importFile = async (chosen: File | undefined) => {
    if (!chosen) return;
    try {
      const { thread } = /\.zip$/i.test(chosen.name)
        ? await api.importArchive(chosen)
        : await api.importThread(JSON.parse(await chosen.text()));
      threadListChanged(thread.id);
      navigate(`/t/${thread.id}`);
    } catch (error) {
      notifyError(error instanceof SyntaxError ? new Error('This file is not an export: it is not valid JSON.') : error);
    }
  };
  const name = user?.name || user?.email || '';
  return (
    <>
      <input ref={file} type="file" accept="application/json,.json,application/zip,.zip" hidden onChange={(event) => void importFile(event.target.files?.[0])} />
      <Menu
        align="start"
        trigger={
          <button type="button" className="account">
            <span className="avatar" aria-hidden="true"><UserRound /></span>
            <span className="account-name"><span className="visually-hidden">Account: </span>{name}</span>
          </button>
        }
      >
        <MenuItem icon={Settings} onSelect={() => navigate('/settings')}>Settings</MenuItem>
        <MenuItem icon={LibraryBig} onSelect={() => navigate('/knowledge')}>Knowledge</MenuItem>
        <MenuItem icon={Archive} onSelect={onArchive}>{archived ? 'Show threads' : 'Show archive'}</MenuItem>
        <MenuItem icon={Trash2} onSelect={() => navigate('/trash')}>Trash</MenuItem>
        <MenuItem icon={Upload} onSelect={() => file.current?.click()}>Import thread</MenuItem>
        <MenuSeparator />
        <MenuItem icon={LogOut} onSelect={() => void signOut()}>Sign out</MenuItem>
      </Menu>
      <button type="button" className="hint-keys" onClick={() => openOverlay('palette')}>
        <span className="visually-hidden">Open command palette</span><kbd>{MODIFIER}K</kbd>
      </button>
    </>
  );
}
