/** The addresses of threads and their states, as the router knows them: without the base path. */
import { BASE_PATH } from '@branchline/client/api/basePath';
import { useMemo } from 'react';
import { useParams } from 'wouter';
import { navigate as navigateOnHost } from 'wouter/use-browser-location';

export type View = 'chat' | 'map' | 'compare';

export interface ThreadRoute {
  view: View;
  /** In the chat and the map the end of the branch; in a comparison the state whose children are compared. */
  state: string | null;
}

const SEGMENT: Record<View, string> = { chat: 's', map: 'map', compare: 'compare' };

export function threadPath(thread: string, state: string | null, view: View = 'chat'): string {
  if (!state) return `/t/${thread}`;
  return `/t/${thread}/${SEGMENT[view]}/${state}`;
}

/** Where in the knowledge base somebody is: a source, and a document of it; what is searched, and the passage to show. */
export interface KnowledgePlace {
  source?: string | undefined;
  document?: string | undefined;
  q?: string | undefined;
  /** The position of a passage in the document. */
  at?: number | undefined;
}

export function knowledgePath({ source, document, q, at }: KnowledgePlace = {}): string {
  const path = ['/knowledge', source, source && document].filter(Boolean).join('/');
  const query = new URLSearchParams({ ...(q ? { q } : {}), ...(at === undefined ? {} : { at: String(at) }) });
  return query.size ? `${path}?${query}` : path;
}

export function useThreadRoute(): ThreadRoute {
  const rest = (useParams() as { '*'?: string })['*'] ?? '';
  return useMemo(() => {
    const [segment, state = null] = rest.split('/');
    const view = (Object.keys(SEGMENT) as View[]).find((name) => SEGMENT[name] === segment) ?? 'chat';
    return { view, state };
  }, [rest]);
}

/** Go to a path such as /trash. `replace`: it takes the place of the current one in the browser's history. */
export function navigate(path: string, options?: { replace: boolean }): void {
  navigateOnHost(BASE_PATH + path, options);
}
