import { sizeText } from '@branchline/client/api/files';
import { Problem } from '@branchline/client/api/request';
import type { KnowledgeDocument, Passage } from '@branchline/client/api/types';
import { useEffect, useLayoutEffect, useRef } from 'react';
import { Markdown } from '../markdown/Markdown';
import { knowledgePath, navigate } from '../navigation/routes';
import { useDocument, usePassages, useSource } from '../stores/knowledge';
import { Button } from '../ui/Button';
import { markedWords } from '../ui/marks';
import { markWords } from '../ui/markWords';
import { formatTime } from '../ui/time';
import { useTitle } from '../ui/useTitle';
import { Failed } from './Failed';
import { Gone } from './Gone';
import { PageHead } from './PageHead';
import { RemoveDocument } from './Remove';
import { counted } from './words';

interface Place {
  sourceId: string;
  documentId: string;
  /** Words that were searched. */
  q: string;
  /** The passage that was found. */
  at: number | null;
}

/** A document with its passages in their order; what was found in it is marked. */
export function DocumentPage({ sourceId, documentId, q, at }: Place) {
  const { data: document, error } = useDocument(sourceId, documentId);
  const { data: source } = useSource(sourceId);
  useTitle(document?.name ?? 'Document');
  const above = knowledgePath({ source: sourceId, q });
  if (error instanceof Problem && error.status === 404) return <Gone what="document" above={knowledgePath({ source: sourceId })} />;
  return (
    <section className="settings knowledge" aria-labelledby="document-title">
      <PageHead
        id="document-title"
        title={document?.title ?? document?.name ?? 'Document'}
        above={[{ name: 'Knowledge', path: knowledgePath({ q }) }, { name: source?.name ?? 'Source', path: above }]}
      >
        {document && <RemoveDocument document={document} onGone={() => navigate(knowledgePath({ source: sourceId }))} />}
      </PageHead>
      {error && <Failed error={error} />}
      {document && <About document={document} />}
      {document && <Passages document={document} q={q} at={at} />}
    </section>
  );
}

function About({ document: { name, title, passages, size, updated_at: updated } }: { document: KnowledgeDocument }) {
  const isPage = /^https?:\/\//i.test(name);
  return (
    <p className="quiet">
      {isPage ? <><a href={name} target="_blank" rel="noreferrer">{name}</a> · </> : title && title !== name && <><bdi>{name}</bdi> · </>}
      {passages ? counted(passages, 'passage') : 'No text that could be split into passages'} · {sizeText(size)} · changed {formatTime(updated)}
    </p>
  );
}

function Passages({ document, q, at }: { document: KnowledgeDocument; q: string; at: number | null }) {
  const list = useRef<HTMLOListElement>(null);
  const { data, error, hasNextPage, hasPreviousPage, isFetching, fetchNextPage, fetchPreviousPage } = usePassages(document.source_id, document.id, {
    position: at ?? 0,
    q,
    count: document.passages,
  });
  const passages = data?.pages.flat();
  const isThere = passages?.some(({ position }) => position === at) ?? false;
  useEffect(() => {
    list.current?.querySelector('[aria-current]')?.scrollIntoView({ block: 'center' });
  }, [isThere, at]);
  useLayoutEffect(() => {
    const element = list.current;
    if (!element || !passages) return undefined;
    markWords(element, markedWords(passages), { whole: true });
    return () => void markWords(element, []);
  }, [data]);
  if (error) return <Failed error={error} />;
  return (
    <>
      {hasPreviousPage && <Button disabled={isFetching} onClick={() => void fetchPreviousPage()}>Show what is before</Button>}
      <ol className="passages" ref={list} aria-label="Passages" aria-busy={!data}>
        {passages?.map((passage, index) => (
          <li key={passage.position} className={passage.position === at ? 'passage passage-cited' : 'passage'} aria-current={passage.position === at || undefined}>
            {!sameTitles(passage, passages[index - 1]) && <p className="titles" dir="auto">{passage.titles.join(' › ')}</p>}
            {document.kind === 'markdown' ? <Markdown text={passage.text} /> : <p className="passage-text" dir="auto">{passage.text}</p>}
          </li>
        ))}
      </ol>
      {hasNextPage && <Button disabled={isFetching} onClick={() => void fetchNextPage()}>Show more</Button>}
    </>
  );
}

/** Whether a passage has the same headings above it as the one before. */
function sameTitles(passage: Passage, before: Passage | undefined): boolean {
  return passage.titles.length === 0 || (before !== undefined && passage.titles.join('\n') === before.titles.join('\n'));
}
