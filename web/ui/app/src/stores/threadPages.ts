/** Pages of threads, and how the change of one thread is applied to them. */
import type { ListedThread, Page, Thread } from '@branchline/client/api/types';
import type { InfiniteData } from '@tanstack/react-query';

export type ThreadList = InfiniteData<Page<ListedThread>, string | null>;

/** Whether a thread is listed before another: the last updated is first. */
function isBefore(a: Thread, b: Thread): boolean {
  return a.updated_at === b.updated_at ? a.id > b.id : a.updated_at > b.updated_at;
}

/** The list without a thread. */
export function removeThread(list: ThreadList, id: string): ThreadList {
  if (!list.pages.some((page) => page.items.some((other) => other.id === id))) return list;
  return { ...list, pages: list.pages.map((page) => ({ ...page, items: page.items.filter((other) => other.id !== id) })) };
}

/** The list with a thread in its position, if that is on a page that was loaded. */
export function insertThread(list: ThreadList, thread: Thread): ThreadList {
  const rest = removeThread(list, thread.id);
  const at = rest.pages.findIndex((page) => page.next === null || page.items.some((other) => isBefore(thread, other)));
  const page = rest.pages[at];
  if (!page) return rest;
  const position = page.items.findIndex((other) => isBefore(thread, other));
  const items = page.items.toSpliced(position < 0 ? page.items.length : position, 0, thread);
  return { ...rest, pages: rest.pages.with(at, { ...page, items }) };
}

/** The list with a newer version of a thread, in the position of the old one. Where a search found it stays. */
export function replaceThread(list: ThreadList, thread: Thread): ThreadList {
  if (!list.pages.some((page) => page.items.some((other) => other.id === thread.id))) return list;
  const items = (page: Page<ListedThread>) => page.items.map((other) => (other.id === thread.id ? { ...other, ...thread } : other));
  return { ...list, pages: list.pages.map((page) => ({ ...page, items: items(page) })) };
}
