import { threadTitle } from '@branchline/client/thread/titles';
import { Ellipsis, GitBranch, type LucideIcon, Map as MapIcon, MessageSquare, PanelLeftOpen } from 'lucide-react';
import { useState } from 'react';
import { navigate, threadPath } from '../navigation/routes';
import { SessionDialog } from '../sessions/SessionDialog';
import { setPreferences, usePreferences } from '../stores/preferences';
import { useThread } from '../stores/thread';
import { RenameThread } from '../threads/RenameThread';
import { ThreadMenu } from '../threads/ThreadMenu';
import { IconButton } from '../ui/Button';
import { MODIFIER, SHIFT } from '../ui/keys';
import { Menu } from '../ui/Menu';
import { ConnectionStatus } from './ConnectionStatus';

/** The title of the thread, how it is shown, and what can be done with it. */
export function ThreadHeader({ threadId, head, view, outline, onOutline }: { threadId: string; head: string | null; view: string; outline: boolean; onOutline: () => void }) {
  const thread = useThread((state) => state.data.thread);
  const sidebar = usePreferences((state) => state.sidebar);
  const hasSession = useThread((state) => !!state.data.session);
  const [beginning, setBeginning] = useState(false);
  const [renaming, setRenaming] = useState(false);
  return (
    <header className="thread-head">
      {!sidebar && <IconButton label="Show sidebar" icon={PanelLeftOpen} onClick={() => setPreferences({ sidebar: true })} />}
      {thread && renaming ? (
        <RenameThread thread={thread} onDone={() => setRenaming(false)} />
      ) : (
        <h1>
          <button type="button" dir="auto" onClick={() => setRenaming(true)} title="Rename" disabled={!thread}>
            {thread ? threadTitle(thread) : ' '}
          </button>
        </h1>
      )}
      <ConnectionStatus />
      <div className="views" role="group" aria-label="View">
        <ViewButton icon={MessageSquare} name="Chat" on={view === 'chat'} onClick={() => navigate(threadPath(threadId, head))} />
        <ViewButton icon={MapIcon} name="Map" on={view === 'map'} onClick={() => navigate(threadPath(threadId, head, 'map'))} />
      </div>
      {view === 'chat' && (
        <IconButton label={outline ? 'Hide outline' : 'Show outline'} icon={GitBranch} keys={`${MODIFIER}${SHIFT}L`} aria-pressed={outline} onClick={onOutline} />
      )}
      {thread && (
        <Menu trigger={<button type="button" className="icon-button" aria-label="Thread actions"><Ellipsis aria-hidden="true" /></button>}>
          <ThreadMenu thread={thread} head={head} onRename={() => setRenaming(true)} onGone={() => navigate('/')} onSession={hasSession ? undefined : () => setBeginning(true)} />
        </Menu>
      )}
      {thread && beginning && <SessionDialog threadId={thread.id} session={null} onClose={() => setBeginning(false)} />}
    </header>
  );
}

function ViewButton({ icon: Icon, name, on, onClick }: { icon: LucideIcon; name: string; on: boolean; onClick: () => void }) {
  return (
    <button type="button" aria-label={name} aria-pressed={on} onClick={onClick}>
      <Icon aria-hidden="true" /><span>{name}</span>
    </button>
  );
}
