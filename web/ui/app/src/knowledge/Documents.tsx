import { sizeText } from '@branchline/client/api/files';
import type { KnowledgeDocument } from '@branchline/client/api/types';
import { Link } from 'wouter';
import { knowledgePath } from '../navigation/routes';
import { useDocuments } from '../stores/knowledge';
import { Button } from '../ui/Button';
import { formatTime } from '../ui/time';
import { Failed } from './Failed';
import { RemoveDocument } from './Remove';
import { counted } from './words';

/** The documents of a source, by their names. */
export function Documents({ sourceId }: { sourceId: string }) {
  const { data, error, isPending, hasNextPage, isFetchingNextPage, fetchNextPage } = useDocuments(sourceId);
  const documents = data?.pages.flatMap((page) => page.items) ?? [];
  if (error) return <Failed error={error} />;
  if (isPending) return <p className="quiet" role="status">Loading …</p>;
  if (!documents.length) return <Empty />;
  return (
    <>
      <ul className="knowledge-list" aria-label="Documents">
        {documents.map((document) => <li key={document.id}><DocumentRow document={document} /><RemoveDocument document={document} /></li>)}
      </ul>
      {hasNextPage && <Button disabled={isFetchingNextPage} onClick={() => void fetchNextPage()}>Show more</Button>}
    </>
  );
}

function DocumentRow({ document: { id, source_id: source, name, title, size, passages, updated_at: updated } }: { document: KnowledgeDocument }) {
  return (
    <Link href={knowledgePath({ source, document: id })} className="knowledge-row">
      <span className="knowledge-name"><strong dir="auto">{name}</strong></span>
      {title && title !== name && <span className="knowledge-subtitle" dir="auto">{title}</span>}
      <small>{passages ? counted(passages, 'passage') : 'No text'} · {sizeText(size)} · changed {formatTime(updated)}</small>
    </Link>
  );
}

function Empty() {
  return (
    <div className="knowledge-empty">
      <p className="lead">
        This source has no documents yet. Add files, or a ZIP archive of them, and web pages here. A whole folder is added in a terminal, by{' '}
        <code>branchline kb add</code>.
      </p>
    </div>
  );
}
