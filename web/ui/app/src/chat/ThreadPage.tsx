import { rememberedHead, show, watch } from '@branchline/client/thread/store';
import { Ellipsis, GitBranch, Map as MapIcon, MessageSquare, PanelLeftOpen } from 'lucide-react';
import { lazy, Suspense, useEffect, useState } from 'react';
import { Compare } from '../compare/Compare';
import { Outline } from '../outline/Outline';
import { seen, useSession } from '../session';
import { useThread } from '../stores/thread';
import { Rename, ThreadMenu, threadTitle } from '../threads/Sidebar';
import { Button, IconButton } from '../ui/Button';
import { useMedia } from '../ui/media';
import { Menu } from '../ui/Menu';
import { prefer, usePreferences } from '../ui/preferences';
import { ChatView } from './ChatView';
import { Connection } from './Connection';
import { address, navigate, useWhere } from './place';

const MapView = lazy(() => import('../map/MapView'));

/** One thread: its chat, its outline, its map, its comparisons. */
export function ThreadPage({ threadId }: { threadId: string }) {
  const where = useWhere();
  const board = useSession((state) => state.board);
  const here = useThread((state) => state.data.threadId === threadId);
  const known = useThread((state) => here && !!state.data.cursor);
  const head = useThread((state) => state.head);
  const missing = useThread((state) => state.missing || state.data.gone);
  const narrow = useMedia('(max-width: 1120px)');
  const outline = usePreferences((state) => state.outline);
  const [sheet, setSheet] = useState(false);

  useEffect(() => {
    if (!board) return undefined;
    seen(threadId);
    return watch(threadId, where.view === 'compare' ? null : (where.state ?? rememberedHead(threadId)), board);
    // What is shown within the thread changes without watching it anew.
  }, [threadId, board]);

  useEffect(() => {
    if (!known || !head || where.view === 'compare') return;
    if (where.state) show(where.state);
    else navigate(address(threadId, head, where.view), { replace: true });
  }, [known, head, where, threadId]);

  useTitle(threadId);
  if (missing && here) return <Gone />;
  const withOutline = where.view === 'chat' && (narrow ? sheet : outline);
  return (
    <div className="thread" data-outline={withOutline || undefined}>
      <Head view={where.view} outline={withOutline} onOutline={() => (narrow ? setSheet(!sheet) : prefer({ outline: !outline }))} />
      {where.view === 'map' ? (
        <Suspense fallback={<p className="wait" role="status">Drawing the map …</p>}><MapView /></Suspense>
      ) : where.view === 'compare' && where.state ? (
        <Compare inputId={where.state} />
      ) : (
        <ChatView />
      )}
      {withOutline && (
        <>
          {narrow && <button type="button" className="veil" aria-label="Close the outline" onClick={() => setSheet(false)} />}
          <Outline onChosen={() => setSheet(false)} onClose={() => (narrow ? setSheet(false) : prefer({ outline: false }))} />
        </>
      )}
    </div>
  );
}

function useTitle(threadId: string): void {
  const title = useThread((state) => state.data.thread?.title);
  const busy = useSession((state) => state.active.has(threadId));
  useEffect(() => {
    document.title = `${busy ? '● ' : ''}${title || 'Thread'} · Branchline`;
    return () => {
      document.title = 'Branchline';
    };
  }, [title, busy]);
}

function Head({ view, outline, onOutline }: { view: string; outline: boolean; onOutline: () => void }) {
  const thread = useThread((state) => state.data.thread);
  const head = useThread((state) => state.head);
  const sidebar = usePreferences((state) => state.sidebar);
  const [renaming, setRenaming] = useState(false);
  const id = thread?.id ?? '';
  return (
    <header className="thread-head">
      {!sidebar && <IconButton label="Show the list of threads" icon={PanelLeftOpen} onClick={() => prefer({ sidebar: true })} />}
      {thread && renaming ? (
        <Rename thread={thread} onDone={() => setRenaming(false)} />
      ) : (
        <h1>
          <button type="button" onClick={() => setRenaming(true)} title="Rename" disabled={!thread}>
            {thread ? threadTitle(thread) : ' '}
          </button>
        </h1>
      )}
      <Connection />
      <div className="views" role="group" aria-label="View">
        <ViewButton icon={MessageSquare} name="Chat" on={view === 'chat'} onClick={() => navigate(address(id, head))} />
        <ViewButton icon={MapIcon} name="Map" on={view === 'map'} onClick={() => navigate(address(id, head, 'map'))} />
      </div>
      {view === 'chat' && (
        <IconButton label={outline ? 'Hide the outline' : 'Show the outline'} icon={GitBranch} keys="O" aria-pressed={outline} onClick={onOutline} />
      )}
      {thread && (
        <Menu trigger={<button type="button" className="icon-button" aria-label="More about this thread"><Ellipsis aria-hidden="true" /></button>}>
          <ThreadMenu thread={thread} head={head} onRename={() => setRenaming(true)} onGone={() => navigate('/')} />
        </Menu>
      )}
    </header>
  );
}

function ViewButton({ icon: Icon, name, on, onClick }: { icon: typeof MapIcon; name: string; on: boolean; onClick: () => void }) {
  return (
    <button type="button" aria-label={name} aria-pressed={on} onClick={onClick}>
      <Icon aria-hidden="true" /><span>{name}</span>
    </button>
  );
}

function Gone() {
  return (
    <section className="middle">
      <h1>This thread is not here</h1>
      <p>It was deleted, or it belongs to somebody else. A deleted thread can be brought back for 30 days by “Undo”, or with its id by the API.</p>
      <Button look="main" onClick={() => navigate('/')}>New thread</Button>
    </section>
  );
}
