import { Problem } from '@branchline/client/api/request';
import type { KnowledgeSource } from '@branchline/client/api/types';
import { knowledgePath } from '../navigation/routes';
import { useSource } from '../stores/knowledge';
import { formatTime } from '../ui/time';
import { useTitle } from '../ui/useTitle';
import { AddDocuments } from './AddDocuments';
import { Documents } from './Documents';
import { Failed } from './Failed';
import { Gone } from './Gone';
import { Ingestions } from './Ingestions';
import { PageHead } from './PageHead';
import { RemoveSource } from './Remove';
import { SearchField } from './SearchField';
import { SearchResults } from './SearchResults';
import { counted, languageName } from './words';

/** One source: its documents, and a search through them. */
export function SourcePage({ sourceId, q }: { sourceId: string; q: string }) {
  const { data: source, error } = useSource(sourceId);
  useTitle(source?.name ?? 'Knowledge');
  if (error instanceof Problem && error.status === 404) return <Gone what="source" />;
  return (
    <section className="settings knowledge" aria-labelledby="source-title">
      <PageHead id="source-title" title={source?.name ?? 'Source'} above={[{ name: 'Knowledge', path: knowledgePath() }]}>
        {source && <RemoveSource source={source} />}
      </PageHead>
      {error && <Failed error={error} />}
      {source && <p className="quiet">{about(source)}</p>}
      {source && (source.documents > 0 || q) && <SearchField q={q} label="Search this source" />}
      {q && <SearchResults q={q} sourceId={sourceId} />}
      {/* Not taken away by a search: files may be on their way, and addresses half written. */}
      <div className="source-parts" hidden={q !== ''}>
        <AddDocuments sourceId={sourceId} />
        <Ingestions sourceId={sourceId} />
        <Documents sourceId={sourceId} />
      </div>
    </section>
  );
}

function about({ language, project_id: project, documents, passages, embedded, updated_at: updated }: KnowledgeSource): string {
  const facts = [languageName(language), ...(project === null ? [] : [`Project ${project}`])];
  if (!documents) return facts.join(' · ');
  const behind = embedded !== null && embedded < passages ? [`${counted(embedded, 'passage')} embedded so far`] : [];
  return [...facts, counted(documents, 'document'), counted(passages, 'passage'), ...behind, `changed ${formatTime(updated)}`].join(' · ');
}
