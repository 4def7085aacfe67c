import type { ListedThread, Page } from '@branchline/client/api/types';
import { threadTitle } from '@branchline/client/thread/titles';
import { useVirtualizer } from '@tanstack/react-virtual';
import { Ellipsis } from 'lucide-react';
import { type KeyboardEvent, memo, type ReactNode, useEffect, useMemo, useRef, useState } from 'react';
import { Link, useLocation } from 'wouter';
import { listedPath, scrollToHit } from '../navigation/openBranch';
import { useActivity } from '../stores/activity';
import { useThread } from '../stores/thread';
import { Marked } from '../ui/Marked';
import { Menu } from '../ui/Menu';
import { scaledToFont } from '../ui/scaledToFont';
import { dayGroup } from '../ui/time';
import { RenameThread } from './RenameThread';
import { ThreadMenu } from './ThreadMenu';

type Entry = { day: string } | { thread: ListedThread };

/** A row that is touched holds a menu of 44 pixels. */
const ROW = scaledToFont(matchMedia('(pointer: coarse)').matches ? 46 : 36);
const DAY_ROW = scaledToFont(34);
/** A row with a snippet of what was found. */
const FOUND_ROW = scaledToFont(76);

/** The threads by day; only the rows in sight are drawn. */
export function ThreadList({ pages, more, empty }: { pages: readonly Page<ListedThread>[] | undefined; more: (() => void) | null; empty: ReactNode }) {
  const entries = useMemo(() => byDay(pages?.flatMap((page) => page.items) ?? []), [pages]);
  const box = useRef<HTMLDivElement>(null);
  const shown = useThread((state) => state.data.threadId);
  const virtual = useVirtualizer({
    count: entries.length,
    getScrollElement: () => box.current,
    estimateSize: (index) => heightOf(entries[index] as Entry),
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

function heightOf(entry: Entry): number {
  if ('day' in entry) return DAY_ROW;
  return entry.thread.hit?.snippet ? FOUND_ROW : ROW;
}

function byDay(threads: ListedThread[]): Entry[] {
  const entries: Entry[] = [];
  let last = '';
  for (const thread of threads) {
    const day = dayGroup(thread.updated_at);
    if (day !== last) entries.push({ day });
    last = day;
    entries.push({ thread });
  }
  return entries;
}

const ThreadRow = memo(function ThreadRow({ thread, current }: { thread: ListedThread; current: boolean }) {
  const [renaming, setRenaming] = useState(false);
  const [, navigate] = useLocation();
  const active = useActivity((state) => state.active.get(thread.id));
  const unread = useActivity((state) => state.unread.has(thread.id));
  const badge = badgeOf(active, unread && !current);
  const title = threadTitle(thread);
  const { hit } = thread;
  if (renaming) return <RenameThread thread={thread} onDone={() => setRenaming(false)} />;
  return (
    <div className="thread-row" onKeyDown={moveInRow} data-found={hit?.snippet ? true : undefined} data-current={current || undefined}>
      <Link href={listedPath(thread)} aria-current={current ? 'page' : undefined} title={title} onClick={() => scrollToHit(thread)}>
        <span className="thread-text">
          <span className="thread-title" dir="auto">{hit && thread.title ? <Marked text={thread.title} marks={hit.title_marks} /> : title}</span>
          {hit?.snippet && <span className="snippet" dir="auto"><Marked text={hit.snippet} marks={hit.marks} /></span>}
        </span>
        {badge && <span className={`badge badge-${badge.kind}`} role="img" aria-label={badge.text} title={badge.text} />}
      </Link>
      <Menu trigger={<button type="button" tabIndex={-1} className="icon-button row-menu" aria-label={`Actions for ${title}`}><Ellipsis aria-hidden="true" /></button>}>
        <ThreadMenu thread={thread} onRename={() => setRenaming(true)} onGone={() => current && navigate('/')} />
      </Menu>
    </div>
  );
});

/** A row is one stop of the Tab key; the arrow keys go from its link to its menu and back. */
function moveInRow(event: KeyboardEvent<HTMLElement>): void {
  const target = { ArrowRight: '.row-menu', ArrowLeft: 'a' }[event.key];
  // The items of the open menu are no part of the row.
  if (!target || !event.currentTarget.contains(event.target as Element)) return;
  event.preventDefault();
  event.currentTarget.querySelector<HTMLElement>(target)?.focus();
}

function badgeOf(active: ReadonlyMap<string, string> | undefined, unread: boolean) {
  const statuses = [...(active?.values() ?? [])];
  if (statuses.includes('waiting')) return { kind: 'waiting', text: 'Waiting for your input' };
  if (statuses.length) return { kind: 'running', text: 'Running' };
  return unread ? { kind: 'unread', text: 'New activity' } : null;
}
