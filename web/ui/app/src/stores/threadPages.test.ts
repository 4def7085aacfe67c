import type { Thread } from '@branchline/client/api/types';
import { describe, expect, it } from 'vitest';
import { insertThread, removeThread, replaceThread, type ThreadList } from './threadPages';

const thread = (id: string, minute: number, title = id): Thread => ({
  id,
  title,
  worker_id: null,
  config: {},
  metadata: {},
  status: 'active',
  root_state_id: '',
  latest_state_id: '',
  created_at: '',
  updated_at: `2026-01-01T00:${String(minute).padStart(2, '0')}:00.000Z`,
});

/** Two pages; a third was not loaded. */
const list: ThreadList = {
  pages: [
    { items: [thread('f', 50), thread('e', 40)], next: 'two' },
    { items: [thread('d', 30), thread('c', 20)], next: 'three' },
  ],
  pageParams: [null, 'two'],
};
const ids = (shown: ThreadList) => shown.pages.map((page) => page.items.map(({ id }) => id).join(''));

describe('a list of threads', () => {
  it('puts a new thread first', () => {
    expect(ids(insertThread(list, thread('g', 55)))).toEqual(['gfe', 'dc']);
  });

  it('moves a thread that was updated, to another page too', () => {
    expect(ids(insertThread(list, thread('c', 45)))).toEqual(['fce', 'd']);
    expect(ids(insertThread(list, thread('f', 25)))).toEqual(['e', 'dfc']);
  });

  it('sorts by id where two were updated at the same moment', () => {
    expect(ids(insertThread(list, thread('dd', 30)))).toEqual(['fe', 'dddc']);
    expect(ids(insertThread(list, thread('aa', 30)))).toEqual(['fe', 'daac']);
  });

  it('leaves out a thread that belongs on a page that was not loaded', () => {
    expect(ids(insertThread(list, thread('a', 10)))).toEqual(['fe', 'dc']);
    const complete: ThreadList = { ...list, pages: list.pages.map((page, index) => (index ? { ...page, next: null } : page)) };
    expect(ids(insertThread(complete, thread('a', 10)))).toEqual(['fe', 'dca']);
  });

  it('removes a thread, and stays the same object if nothing changes', () => {
    expect(ids(removeThread(list, 'e'))).toEqual(['f', 'dc']);
    expect(removeThread(list, 'x')).toBe(list);
    expect(replaceThread(list, thread('x', 1))).toBe(list);
  });

  it('shows a new title without moving the thread', () => {
    expect(replaceThread(list, thread('d', 59, 'New')).pages[1]?.items[0]?.title).toBe('New');
  });
});
