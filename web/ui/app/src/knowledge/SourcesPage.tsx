import type { KnowledgeSource } from '@branchline/client/api/types';
import { Plus } from 'lucide-react';
import { useState } from 'react';
import { Link } from 'wouter';
import { knowledgePath } from '../navigation/routes';
import { useSources } from '../stores/knowledge';
import { Button } from '../ui/Button';
import { formatTime } from '../ui/time';
import { useTitle } from '../ui/useTitle';
import { Failed } from './Failed';
import { NewSource } from './NewSource';
import { PageHead } from './PageHead';
import { SearchField } from './SearchField';
import { SearchResults } from './SearchResults';
import { counted } from './words';

/** All sources, and a search through all of them. */
export function SourcesPage({ q }: { q: string }) {
  const { data, error, isPending, hasNextPage, isFetchingNextPage, fetchNextPage } = useSources();
  const sources = data?.pages.flatMap((page) => page.items) ?? [];
  const [making, setMaking] = useState(false);
  useTitle('Knowledge');
  return (
    <section className="settings knowledge" aria-labelledby="knowledge-title">
      <PageHead id="knowledge-title" title="Knowledge">
        <Button look={sources.length ? 'plain' : 'main'} icon={Plus} onClick={() => setMaking(true)}>New source</Button>
      </PageHead>
      {sources.length > 0 && <SearchField q={q} label="Search all sources" />}
      {error && <Failed error={error} />}
      {isPending && <p className="quiet" role="status">Loading …</p>}
      {data && !sources.length && <Empty />}
      {q ? (
        <SearchResults q={q} sourceId={null} />
      ) : (
        <ul className="knowledge-list" aria-label="Sources">
          {sources.map((source) => <li key={source.id}><SourceRow source={source} /></li>)}
        </ul>
      )}
      {!q && hasNextPage && <Button disabled={isFetchingNextPage} onClick={() => void fetchNextPage()}>Show more</Button>}
      {making && <NewSource onClose={() => setMaking(false)} />}
    </section>
  );
}

function SourceRow({ source: { id, name, project_id: project, documents, passages, updated_at: updated } }: { source: KnowledgeSource }) {
  return (
    <Link href={knowledgePath({ source: id })} className="knowledge-row">
      <span className="knowledge-name">
        <strong dir="auto">{name}</strong>
        {project !== null && <span className="knowledge-label" dir="auto"><span className="visually-hidden">Project: </span>{project}</span>}
      </span>
      <small>{documents ? `${counted(documents, 'document')}, ${counted(passages, 'passage')} · changed ${formatTime(updated)}` : 'No documents yet'}</small>
    </Link>
  );
}

/** What the knowledge base is for. */
function Empty() {
  return (
    <div className="knowledge-empty">
      <p className="lead">
        Documents of yours from which agents answer. Those that may search them find the passages that fit a question, and cite them with a link to
        the place.
      </p>
      <p className="lead">
        A source has documents that belong together, such as the manuals of one product. Make one here and add files and web pages, or add a whole
        folder in a terminal:
      </p>
      <pre><code>branchline kb add ~/manuals</code></pre>
    </div>
  );
}
