/** The knowledge base, as it was read from the server. Other devices change it too: it is read again at each look. */
import { api } from '@branchline/client/api/calls';
import type { KnowledgeSource, Page } from '@branchline/client/api/types';
import { keepPreviousData, useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { queryClient } from './queryClient';

const KEY = 'knowledge';
/** Passages that are read at once, as many as the server gives. */
const PASSAGES = 50;
/** Passages that a search shows. */
const FOUND = 20;

/** Milliseconds after which a source is read again while its passages are embedded. */
const EMBEDDED_AGAIN = 5000;

const ALWAYS_FRESH = { refetchOnWindowFocus: 'always' } as const;
const PAGED = { ...ALWAYS_FRESH, initialPageParam: null as string | null, getNextPageParam: (page: Page<unknown>) => page.next };

/** The sources, by their names. */
export function useSources() {
  return useInfiniteQuery({ ...PAGED, queryKey: [KEY, 'sources'], queryFn: ({ pageParam, signal }) => api.knowledgeSources(pageParam, signal) });
}

export function useSource(id: string) {
  return useQuery({
    ...ALWAYS_FRESH,
    queryKey: [KEY, 'source', id],
    queryFn: () => api.knowledgeSource(id),
    placeholderData: () => listed(id),
    // Passages are embedded behind the run that adds them, which no event tells.
    refetchInterval: ({ state: { data } }) => data !== undefined && data.embedded !== null && data.embedded < data.passages && EMBEDDED_AGAIN,
  });
}

/** A source that is in the list, which shows its name while it is read. */
function listed(id: string): KnowledgeSource | undefined {
  const list = queryClient.getQueryData<{ pages: Page<KnowledgeSource>[] }>([KEY, 'sources']);
  return list?.pages.flatMap((page) => page.items).find((source) => source.id === id);
}

/** The documents of a source, by their names. */
export function useDocuments(source: string) {
  return useInfiniteQuery({
    ...PAGED,
    queryKey: [KEY, 'documents', source],
    queryFn: ({ pageParam, signal }) => api.knowledgeDocuments(source, pageParam, signal),
  });
}

export function useDocument(source: string, id: string) {
  return useQuery({ ...ALWAYS_FRESH, queryKey: [KEY, 'document', source, id], queryFn: () => api.knowledgeDocument(source, id) });
}

/** The passages of a document around the one at `position`, with the words of `q` marked; `count`: how many it has. */
export function usePassages(source: string, document: string, { position, q, count }: { position: number; q: string; count: number }) {
  return useInfiniteQuery({
    queryKey: [KEY, 'passages', source, document, position, q],
    queryFn: ({ pageParam }) => api.passages(source, document, pageParam * PASSAGES, PASSAGES, q),
    initialPageParam: Math.floor(position / PASSAGES),
    getNextPageParam: (_page, _all, number) => ((number + 1) * PASSAGES < count ? number + 1 : null),
    getPreviousPageParam: (_page, _all, number) => (number > 0 ? number - 1 : null),
  });
}

/** The runs that add documents to a source, the newest first. Hints keep them up to date. */
export function useIngestions(source: string) {
  return useInfiniteQuery({
    ...PAGED,
    queryKey: [KEY, 'ingestions', source],
    queryFn: ({ pageParam, signal }) => api.ingestions(source, pageParam, signal),
  });
}

/** The passages that have words of `q`, in all sources or in one. */
export function useFound(q: string, source: string | null) {
  return useQuery({
    queryKey: [KEY, 'search', source, q],
    queryFn: ({ signal }) => api.searchKnowledge({ q, k: FOUND, source }, signal),
    enabled: q !== '',
    placeholderData: keepPreviousData,
  });
}

/** A run goes on to add documents to a source. */
export function documentsChanged(source: string): void {
  for (const kind of ['source', 'documents']) {
    // What is on its way is not asked for again: many are added one after the other.
    void queryClient.invalidateQueries({ queryKey: [KEY, kind, source] }, { cancelRefetch: false });
  }
}

/** A run has begun or ended, which may be one that adds documents. */
export function ingestionChanged(ended: boolean): void {
  void queryClient.invalidateQueries({ queryKey: ended ? [KEY] : [KEY, 'ingestions'] });
}

/** Something was added or removed: read again what is shown. */
export function knowledgeChanged(): Promise<void> {
  return queryClient.invalidateQueries({ queryKey: [KEY] });
}
