import { citedBy, placeOf, type Source } from '@branchline/client/thread/sources';
import { type MouseEvent, type ReactNode, useState } from 'react';
import { SourceDialog } from './SourceDialog';

/** An answer, whose citations open their passages, and below it the list of these. */
export function Cited({ sources, isStreaming, children }: { sources: readonly Source[]; isStreaming: boolean; children: ReactNode }) {
  const [opened, setOpened] = useState<Source | null>(null);
  const onClick = (event: MouseEvent) => {
    const source = citedBy((event.target as Element).closest('a')?.getAttribute('href'), sources);
    if (!source) return;
    event.preventDefault();
    setOpened(source);
  };
  return (
    <>
      <div className="cited" onClick={onClick}>{children}</div>
      {!isStreaming && (
        <ul className="sources" aria-label="Sources">
          {sources.map((source) => (
            <li key={source.number}>
              <button type="button" onClick={() => setOpened(source)}>
                <span className="source-number">{source.number}</span>
                <span className="source-place" dir="auto">{placeOf(source)}</span>
              </button>
            </li>
          ))}
        </ul>
      )}
      {opened && <SourceDialog source={opened} onClose={() => setOpened(null)} />}
    </>
  );
}
