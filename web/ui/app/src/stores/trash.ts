/** The deleted threads of the user. */
import { api } from '@branchline/client/api/calls';
import { useInfiniteQuery } from '@tanstack/react-query';
import { queryClient } from './queryClient';

const KEY = ['trash'];
const PAGE = 100;

/** The threads in the trash, the last deleted first. Hints keep them up to date. */
export function useTrash() {
  return useInfiniteQuery({
    queryKey: KEY,
    queryFn: ({ pageParam, signal }) => api.trash({ cursor: pageParam, limit: PAGE }, signal),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next,
  });
}

/** Something was deleted or restored: read the trash again if it is shown, else when it is. */
export function trashChanged(): void {
  void queryClient.invalidateQueries({ queryKey: KEY });
}
