import { api } from '@branchline/client/api/calls';
import type { Thread } from '@branchline/client/api/types';
import { takeThread } from '@branchline/client/thread/store';
import { useVirtualizer } from '@tanstack/react-virtual';
import {
  Archive,
  ArchiveRestore,
  Ellipsis,
  FileJson,
  FileText,
  LogOut,
  PanelLeftClose,
  Pencil,
  Search,
  Settings,
  SquarePen,
  Trash2,
  Upload,
  UserRound,
  X,
} from 'lucide-react';
import { memo, useDeferredValue, useEffect, useMemo, useRef, useState } from 'react';
import { Link, useLocation } from 'wouter';
import { openOverlay } from '../palette/overlay';
import { listsChanged, signedOut, useSession, useThreads } from '../session';
import { useThread } from '../stores/thread';
import { IconButton } from '../ui/Button';
import { MOD } from '../ui/keys';
import { Mark } from '../ui/Mark';
import { Menu, MenuItem, MenuLabel, MenuLine } from '../ui/Menu';
import { complain, note } from '../ui/notes';
import { forget, prefer } from '../ui/preferences';
import { scaled } from '../ui/size';
import { dayOf } from '../ui/time';

export function threadTitle(thread: Pick<Thread, 'title'>): string {
  return thread.title?.trim() || 'Untitled';
}

type Entry = { day: string } | { thread: Thread };

/** The list of threads, by day. */
export function Sidebar() {
  const [, navigate] = useLocation();
  const [query, setQuery] = useState('');
  const [status, setStatus] = useState<'active' | 'archived'>('active');
  const wanted = useDeferredValue(query.trim());
  const list = useThreads(wanted, status);
  const entries = useMemo(() => byDay(list.data?.pages.flatMap((page) => page.items) ?? []), [list.data]);
  return (
    <nav className="sidebar" aria-label="Threads">
      <header className="sidebar-head">
        <Link href="/" className="brand"><Mark /> Branchline</Link>
        <IconButton label="Hide the list" icon={PanelLeftClose} onClick={() => prefer({ sidebar: false })} />
      </header>
      <div className="sidebar-tools">
        <button type="button" className="button button-new" onClick={() => navigate('/')}>
          <SquarePen aria-hidden="true" /> New thread
        </button>
        <label className="search">
          <Search aria-hidden="true" />
          <span className="unseen">Search titles and messages</span>
          <input
            type="search"
            placeholder={status === 'active' ? 'Search' : 'Search the archive'}
            value={query}
            onChange={(event) => setQuery(event.target.value)}
            onKeyDown={(event) => event.key === 'Escape' && setQuery('')}
          />
          {query && <button type="button" aria-label="Clear the search" onClick={() => setQuery('')}><X aria-hidden="true" /></button>}
        </label>
      </div>
      <ThreadList
        entries={entries}
        more={list.hasNextPage && !list.isFetchingNextPage ? () => void list.fetchNextPage() : null}
        empty={list.isPending ? null : emptyText(wanted, status)}
      />
      <footer className="sidebar-foot">
        <Account archived={status === 'archived'} onArchive={() => setStatus(status === 'active' ? 'archived' : 'active')} />
      </footer>
    </nav>
  );
}

function emptyText(query: string, status: string): string {
  if (query) return `Nothing in your threads says “${query}”.`;
  return status === 'archived' ? 'The archive is empty.' : 'Your threads will be listed here. Ask something to begin one.';
}

function byDay(threads: Thread[]): Entry[] {
  const entries: Entry[] = [];
  let last = '';
  for (const thread of threads) {
    const day = dayOf(thread.updated_at);
    if (day !== last) entries.push({ day });
    last = day;
    entries.push({ thread });
  }
  return entries;
}

const ROW = scaled(36);
const DAY_ROW = scaled(34);

function ThreadList({ entries, more, empty }: { entries: Entry[]; more: (() => void) | null; empty: string | null }) {
  const box = useRef<HTMLDivElement>(null);
  const shown = useThread((state) => state.data.threadId);
  const virtual = useVirtualizer({
    count: entries.length,
    getScrollElement: () => box.current,
    estimateSize: (index) => ('day' in (entries[index] as Entry) ? DAY_ROW : ROW),
    getItemKey: (index) => {
      const entry = entries[index] as Entry;
      return 'day' in entry ? entry.day : entry.thread.id;
    },
    overscan: 12,
  });
  const items = virtual.getVirtualItems();
  const last = items.at(-1)?.index ?? 0;
  useEffect(() => {
    if (more && last >= entries.length - 15) more();
  }, [more, last, entries.length]);
  useEffect(() => virtual.measure(), [entries, virtual]);
  if (!entries.length) return <div className="thread-list">{empty && <p className="empty-list">{empty}</p>}</div>;
  return (
    <div className="thread-list" ref={box} tabIndex={-1}>
      <ul style={{ height: virtual.getTotalSize() }}>
        {items.map(({ index, start, size, key }) => {
          const entry = entries[index] as Entry;
          return (
            <li key={key} style={{ transform: `translateY(${start}px)`, height: size }}>
              {'day' in entry ? <h2 className="day">{entry.day}</h2> : <ThreadRow thread={entry.thread} current={entry.thread.id === shown} />}
            </li>
          );
        })}
      </ul>
    </div>
  );
}

const ThreadRow = memo(function ThreadRow({ thread, current }: { thread: Thread; current: boolean }) {
  const [renaming, setRenaming] = useState(false);
  const [, navigate] = useLocation();
  const under = useSession((state) => state.active.get(thread.id));
  const news = useSession((state) => state.news.has(thread.id));
  const badge = badgeOf(under, news && !current);
  const title = threadTitle(thread);
  if (renaming) return <Rename thread={thread} onDone={() => setRenaming(false)} />;
  return (
    <div className="thread-row" data-current={current || undefined}>
      <Link href={`/t/${thread.id}`} aria-current={current ? 'page' : undefined} title={title}>
        <span className="thread-title">{title}</span>
        {badge && <span className={`badge badge-${badge.kind}`} role="img" aria-label={badge.text} title={badge.text} />}
      </Link>
      <Menu trigger={<button type="button" className="icon-button row-menu" aria-label={`More about ${title}`}><Ellipsis aria-hidden="true" /></button>}>
        <ThreadMenu thread={thread} onRename={() => setRenaming(true)} onGone={() => current && navigate('/')} />
      </Menu>
    </div>
  );
});

function badgeOf(under: ReadonlyMap<string, string> | undefined, news: boolean) {
  const statuses = [...(under?.values() ?? [])];
  if (statuses.includes('waiting')) return { kind: 'waiting', text: 'Waits for your answer' };
  if (statuses.length) return { kind: 'running', text: 'Answering' };
  return news ? { kind: 'news', text: 'Something new' } : null;
}

/** What can be done with a thread; with the path to `head` where one is shown. */
export function ThreadMenu({ thread, head, onRename, onGone }: { thread: Thread; head?: string | null; onRename: () => void; onGone: () => void }) {
  const archived = thread.status === 'archived';
  return (
    <>
      <MenuItem icon={Pencil} onSelect={onRename}>Rename</MenuItem>
      <MenuItem icon={archived ? ArchiveRestore : Archive} onSelect={() => void archive(thread, !archived)}>
        {archived ? 'Back to the list' : 'Archive'}
      </MenuItem>
      <MenuLine />
      {head && (
        <>
          <MenuLabel>Export this path</MenuLabel>
          <Exports thread={thread.id} state={head} />
        </>
      )}
      <MenuLabel>Export the whole tree</MenuLabel>
      <Exports thread={thread.id} />
      <MenuLine />
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

async function archive(thread: Thread, archived: boolean): Promise<void> {
  try {
    takeThread(await api.changeThread(thread.id, { status: archived ? 'archived' : 'active' }));
    listsChanged(thread.id);
    note(archived ? 'Archived' : 'Back in the list', { name: 'Undo', act: () => void archive(thread, !archived) });
  } catch (error) {
    complain(error);
  }
}

export async function remove(thread: Thread): Promise<void> {
  try {
    await api.deleteThread(thread.id);
    listsChanged(thread.id, 'gone');
    note(`“${threadTitle(thread)}” is deleted`, {
      name: 'Undo',
      act: () => void api.restoreThread(thread.id).then(() => listsChanged(thread.id), complain),
    });
  } catch (error) {
    complain(error);
    throw error;
  }
}

export function Rename({ thread, onDone }: { thread: Thread; onDone: () => void }) {
  const [text, setText] = useState(thread.title ?? '');
  const over = useRef(false);
  const finish = async (keep: boolean) => {
    if (over.current) return;
    over.current = true;
    onDone();
    if (!keep || text.trim() === (thread.title ?? '')) return;
    try {
      takeThread(await api.changeThread(thread.id, { title: text.trim() || null }));
      listsChanged(thread.id);
    } catch (error) {
      complain(error);
    }
  };
  return (
    <input
      className="input rename"
      aria-label="Title"
      value={text}
      autoFocus
      maxLength={500}
      onFocus={(event) => event.target.select()}
      onChange={(event) => setText(event.target.value)}
      onBlur={() => void finish(true)}
      onKeyDown={(event) => {
        if (event.key === 'Enter') void finish(true);
        if (event.key === 'Escape') void finish(false);
      }}
    />
  );
}

function Account({ archived, onArchive }: { archived: boolean; onArchive: () => void }) {
  const user = useSession((state) => state.user);
  const [, navigate] = useLocation();
  const file = useRef<HTMLInputElement>(null);
  const leave = async () => {
    try {
      await api.signOut();
      signedOut();
      forget();
      navigate('/login');
    } catch (error) {
      complain(error);
    }
  };
  const bring = async (chosen: File | undefined) => {
    if (!chosen) return;
    try {
      const { thread } = await api.importThread(JSON.parse(await chosen.text()));
      listsChanged(thread.id);
      navigate(`/t/${thread.id}`);
    } catch (error) {
      complain(error instanceof SyntaxError ? new Error('This file is no export: it is not JSON.') : error);
    }
  };
  const name = user?.name || user?.email || '';
  return (
    <>
      <input ref={file} type="file" accept="application/json,.json" hidden onChange={(event) => void bring(event.target.files?.[0])} />
      <Menu
        align="start"
        trigger={
          <button type="button" className="account">
            <span className="avatar" aria-hidden="true"><UserRound /></span>
            <span className="account-name"><span className="unseen">Account of </span>{name}</span>
          </button>
        }
      >
        <MenuItem icon={Settings} onSelect={() => navigate('/settings')}>Settings</MenuItem>
        <MenuItem icon={Archive} onSelect={onArchive}>{archived ? 'Show the list' : 'Show the archive'}</MenuItem>
        <MenuItem icon={Upload} onSelect={() => file.current?.click()}>Import a thread</MenuItem>
        <MenuLine />
        <MenuItem icon={LogOut} onSelect={() => void leave()}>Sign out</MenuItem>
      </Menu>
      <button type="button" className="hint-keys" onClick={() => openOverlay('palette')}>
        <span className="unseen">Open the command palette</span><kbd>{MOD}K</kbd>
      </button>
    </>
  );
}
