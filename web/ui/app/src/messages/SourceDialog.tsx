import { api } from '@branchline/client/api/calls';
import type { Source } from '@branchline/client/thread/sources';
import { useQuery } from '@tanstack/react-query';
import { useEffect, useRef } from 'react';
import { Markdown } from '../markdown/Markdown';
import { Dialog } from '../ui/Dialog';

/** Passages before and after the one that is cited. */
const AROUND = 2;

/** A document, opened at the passage that an answer cites. */
export function SourceDialog({ source, onClose }: { source: Source; onClose: () => void }) {
  const { sourceId, documentId, position } = source;
  const first = Math.max(0, position - AROUND);
  const { data, isPending } = useQuery({
    queryKey: ['passages', sourceId, documentId, first],
    queryFn: () => api.passages(sourceId ?? '', documentId ?? '', first, position - first + 1 + AROUND),
    enabled: sourceId !== null && documentId !== null,
    retry: false,
  });
  const cited = useRef<HTMLElement>(null);
  const there = data?.some((passage) => passage.text === source.text);
  useEffect(() => {
    void cited.current?.scrollIntoView({ block: 'center' });
  }, [there]);
  // What was cited is shown as it was, also where its document has changed since, or is gone.
  const shown = there && data ? data : [source];
  return (
    <Dialog title={source.document} onClose={onClose} wide>
      <p className="quiet" dir="auto">{source.titles.join(' › ')}</p>
      {shown.map((passage) => {
        const isCited = passage.text === source.text;
        return (
          <section key={passage.position} ref={isCited ? cited : undefined} className={isCited ? 'passage passage-cited' : 'passage'} aria-label={isCited ? 'The cited passage' : undefined}>
            <Markdown text={passage.text} />
          </section>
        );
      })}
      {!there && !(isPending && sourceId) && <p className="quiet">The document has changed since, or is not there any more.</p>}
    </Dialog>
  );
}
