import { knowledgePath, navigate } from '../navigation/routes';
import { Button } from '../ui/Button';

/** In place of something that is not there. */
export function Gone({ what, above = knowledgePath() }: { what: 'source' | 'document'; above?: string }) {
  return (
    <section className="message-page">
      <h1>{what === 'source' ? 'Source not found' : 'Document not found'}</h1>
      <p>It was removed, or it belongs to another account.</p>
      <div className="row-end">
        <Button look="main" onClick={() => navigate(above)}>{above === knowledgePath() ? 'All sources' : 'Its source'}</Button>
      </div>
    </section>
  );
}
