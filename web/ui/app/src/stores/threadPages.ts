/** Lists of threads as they are kept here, and how one thread's change shows in them. */
import type { Page, Thread } from '@branchline/client/api/types';
import type { InfiniteData } from '@tanstack/react-query';

export type ThreadList = InfiniteData<Page<Thread>, string | null>;

/** Whether a thread comes before another: last updated first. */
function before(a: Thread, b: Thread): boolean {
  return a.updated_at === b.updated_at ? a.id > b.id : a.updated_at > b.updated_at;
}

/** The list without a thread. */
export function without(list: ThreadList, id: string): ThreadList {
  if (!list.pages.some((page) => page.items.some((one) => one.id === id))) return list;
  return { ...list, pages: list.pages.map((page) => ({ ...page, items: page.items.filter((one) => one.id !== id) })) };
}

/** The list with a thread where it belongs, if that is on a page that is here. */
export function placed(list: ThreadList, thread: Thread): ThreadList {
  const rest = without(list, thread.id);
  const at = rest.pages.findIndex((page) => page.next === null || page.items.some((one) => before(thread, one)));
  const page = rest.pages[at];
  if (!page) return rest;
  const place = page.items.findIndex((one) => before(thread, one));
  const items = page.items.toSpliced(place < 0 ? page.items.length : place, 0, thread);
  return { ...rest, pages: rest.pages.with(at, { ...page, items }) };
}

/** The list with what is new about a thread, where it stands. */
export function renewed(list: ThreadList, thread: Thread): ThreadList {
  if (!list.pages.some((page) => page.items.some((one) => one.id === thread.id))) return list;
  const items = (page: Page<Thread>) => page.items.map((one) => (one.id === thread.id ? thread : one));
  return { ...list, pages: list.pages.map((page) => ({ ...page, items: items(page) })) };
}
