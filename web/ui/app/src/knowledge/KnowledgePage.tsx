import './knowledge.css';
import { useSearchParams } from 'wouter';
import { DocumentPage } from './DocumentPage';
import { SourcePage } from './SourcePage';
import { SourcesPage } from './SourcesPage';

/** The knowledge base: its sources, a source with its documents, or a document with its passages. */
export default function KnowledgePage({ source, document }: { source: string | undefined; document: string | undefined }) {
  const [query] = useSearchParams();
  const q = query.get('q') ?? '';
  if (source && document) {
    const at = query.get('at');
    return <DocumentPage key={document} sourceId={source} documentId={document} q={q} at={at && /^\d{1,6}$/.test(at) ? Number(at) : null} />;
  }
  return source ? <SourcePage key={source} sourceId={source} q={q} /> : <SourcesPage q={q} />;
}
