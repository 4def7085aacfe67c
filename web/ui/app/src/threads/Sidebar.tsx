import { LibraryBig, PanelLeftClose, Search, SquarePen, X } from 'lucide-react';
import { type ReactNode, useDeferredValue, useState } from 'react';
import { Link, useLocation } from 'wouter';
import { setPreferences } from '../stores/preferences';
import { useThreads } from '../stores/threadLists';
import { Button, IconButton } from '../ui/Button';
import { isComposing } from '../ui/keys';
import { Logo } from '../ui/Logo';
import { AccountMenu } from './AccountMenu';
import { ThreadList } from './ThreadList';

/** The threads, a search through them, and the account. */
export function Sidebar() {
  const [location, navigate] = useLocation();
  const [query, setQuery] = useState('');
  const [status, setStatus] = useState<'active' | 'archived'>('active');
  const search = useDeferredValue(query.trim());
  const list = useThreads(search, status);
  return (
    <nav className="sidebar" aria-label="Threads">
      <header className="sidebar-head">
        <Link href="/" className="brand"><Logo /> Branchline</Link>
        <IconButton label="Hide sidebar" icon={PanelLeftClose} onClick={() => setPreferences({ sidebar: false })} />
      </header>
      <div className="sidebar-tools">
        <button type="button" className="button button-new" onClick={() => navigate('/')}>
          <SquarePen aria-hidden="true" /> New thread
        </button>
        <label className="search">
          <Search aria-hidden="true" />
          <span className="visually-hidden">Search titles and messages</span>
          <input
            type="search"
            dir="auto"
            placeholder={status === 'active' ? 'Search' : 'Search archive'}
            value={query}
            onChange={(event) => setQuery(event.target.value)}
            onKeyDown={(event) => event.key === 'Escape' && !isComposing(event.nativeEvent) && setQuery('')}
          />
          {query && <button type="button" aria-label="Clear search" onClick={() => setQuery('')}><X aria-hidden="true" /></button>}
        </label>
      </div>
      <Link href="/knowledge" className="sidebar-link" aria-current={location.startsWith('/knowledge') ? 'page' : undefined}>
        <LibraryBig aria-hidden="true" /> Knowledge
      </Link>
      {status === 'archived' && (
        <header className="list-head">
          <h2>Archive</h2>
          <Button look="quiet" onClick={() => setStatus('active')}>Back to threads</Button>
        </header>
      )}
      <ThreadList
        pages={list.data?.pages}
        more={list.hasNextPage && !list.isFetchingNextPage ? () => void list.fetchNextPage() : null}
        empty={list.isPending ? null : emptyText(search, status)}
      />
      <footer className="sidebar-foot">
        <AccountMenu archived={status === 'archived'} onArchive={() => setStatus(status === 'active' ? 'archived' : 'active')} />
      </footer>
    </nav>
  );
}

function emptyText(query: string, status: string): ReactNode {
  if (query) return <>No results for “<bdi>{query}</bdi>”</>;
  return status === 'archived' ? 'No archived threads' : 'Your threads appear here. Ask something to start one.';
}
