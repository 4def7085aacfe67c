import type { KnowledgeFound, Passage } from '@branchline/client/api/types';
import { FileText } from 'lucide-react';
import { useMemo } from 'react';
import { Link } from 'wouter';
import { plainText } from '../markdown/plainText';
import { knowledgePath } from '../navigation/routes';
import { useFound } from '../stores/knowledge';
import { Pieces } from '../ui/Marked';
import { markedWords, piecesWith } from '../ui/marks';
import { Failed } from './Failed';
import { counted } from './words';

/** The passages that a search has found, the best first; each leads to its place in its document. */
export function SearchResults({ q, sourceId }: { q: string; sourceId: string | null }) {
  const { data, error, isPlaceholderData } = useFound(q, sourceId);
  if (error) return <Failed error={error} />;
  return (
    <section className="found" aria-label="Found passages" aria-busy={isPlaceholderData || !data}>
      <p className="quiet" role="status">{data ? summary(data, q, sourceId) : 'Searching …'}</p>
      <ol>
        {data?.items.map((passage) => (
          <li key={`${passage.document_id}/${passage.position}`}>
            <Found passage={passage} q={q} withSource={!sourceId} />
          </li>
        ))}
      </ol>
    </section>
  );
}

function summary({ items, vectors }: KnowledgeFound, q: string, sourceId: string | null): string {
  const where = sourceId ? 'of this source ' : '';
  const found = items.length ? `${counted(items.length, 'passage')}, the best first.` : `No passage ${where}${NOTHING[vectors]} “${q}”.`;
  return vectors === 'unavailable' ? `${found} Only words were compared, for meanings could not be.` : found;
}

const NOTHING: Record<KnowledgeFound['vectors'], string> = { used: 'fits', none: 'has a word of', unavailable: 'has a word of' };

function Found({ passage, q, withSource }: { passage: Passage; q: string; withSource: boolean }) {
  const text = useMemo(() => piecesWith(plainText(passage.text), markedWords([passage])), [passage]);
  const path = knowledgePath({ source: passage.source_id, document: passage.document_id, q, at: passage.position });
  return (
    <article>
      <h2>
        <Link href={path} dir="auto"><FileText aria-hidden="true" />{passage.document}</Link>
        {withSource && <span className="quiet" dir="auto">{passage.source}</span>}
      </h2>
      {passage.titles.length > 0 && <p className="titles" dir="auto">{passage.titles.join(' › ')}</p>}
      <p className="found-text" dir="auto"><Pieces of={text} /></p>
    </article>
  );
}
