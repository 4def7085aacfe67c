import { showBranch, storedHead } from '@branchline/client/thread/store';
import { watchThread } from '@branchline/client/thread/sync';
import { lazy, Suspense, useEffect, useState } from 'react';
import { ChatView } from '../chat/ChatView';
import { Compare } from '../compare/Compare';
import { navigate, threadPath, useThreadRoute } from '../navigation/routes';
import { Outline } from '../outline/Outline';
import { markRead, useActivity } from '../stores/activity';
import { setPreferences, usePreferences } from '../stores/preferences';
import { useSession } from '../stores/session';
import { useThread } from '../stores/thread';
import { Button } from '../ui/Button';
import { useEscape } from '../ui/useEscape';
import { useMediaQuery } from '../ui/useMediaQuery';
import { ThreadHeader } from './ThreadHeader';

const MapView = lazy(() => import('../map/MapView'));

/** One thread: its chat, its outline, its map, its comparisons. */
export function ThreadPage({ threadId }: { threadId: string }) {
  const where = useThreadRoute();
  const streams = useSession((state) => state.streams);
  const here = useThread((state) => state.data.threadId === threadId);
  const known = useThread((state) => here && !!state.data.cursor);
  const head = useThread((state) => state.head);
  const missing = useThread((state) => state.notFound || state.data.deleted);
  const narrow = useMediaQuery('(max-width: 1120px)');
  const outline = usePreferences((state) => state.outline);
  const [sheet, setSheet] = useState(false);

  useEffect(() => {
    if (!streams) return undefined;
    markRead(threadId);
    return watchThread(threadId, where.view === 'compare' ? null : (where.state ?? storedHead(threadId)), streams);
    // The route's state and view are left out: another branch is shown without watching the thread anew.
  }, [threadId, streams]);

  useEffect(() => {
    if (!known || !head || where.view === 'compare') return;
    if (where.state) showBranch(where.state);
    else navigate(threadPath(threadId, head, where.view), { replace: true });
  }, [known, head, where, threadId]);

  useEscape(narrow && sheet && where.view === 'chat', () => setSheet(false));
  useTitle(threadId);
  if (missing && here) return <Gone />;
  const withOutline = where.view === 'chat' && (narrow ? sheet : outline);
  return (
    <div className="thread" data-outline={withOutline || undefined}>
      <ThreadHeader threadId={threadId} head={known ? head : where.view === 'compare' ? null : where.state} view={where.view} outline={withOutline} onOutline={() => (narrow ? setSheet(!sheet) : setPreferences({ outline: !outline }))} />
      {where.view === 'map' ? (
        <Suspense fallback={<p className="loading" role="status">Loading map …</p>}><MapView /></Suspense>
      ) : where.view === 'compare' && where.state ? (
        <Compare inputId={where.state} />
      ) : (
        <ChatView />
      )}
      {withOutline && (
        <>
          {narrow && <button type="button" className="backdrop" aria-label="Close outline" onClick={() => setSheet(false)} />}
          <Outline onChosen={() => setSheet(false)} onClose={() => (narrow ? setSheet(false) : setPreferences({ outline: false }))} />
        </>
      )}
    </div>
  );
}

function useTitle(threadId: string): void {
  const title = useThread((state) => state.data.thread?.title);
  const busy = useActivity((state) => state.active.has(threadId));
  useEffect(() => {
    document.title = `${busy ? '● ' : ''}${title || 'Thread'} · Branchline`;
    return () => {
      document.title = 'Branchline';
    };
  }, [title, busy]);
}

function Gone() {
  return (
    <section className="message-page">
      <h1>Thread not found</h1>
      <p>It was deleted, or it belongs to another account. A deleted thread can be restored from the trash for some time.</p>
      <div className="row-end">
        <Button look="main" onClick={() => navigate('/')}>New thread</Button>
        <Button onClick={() => navigate('/trash')}>Open trash</Button>
      </div>
    </section>
  );
}
