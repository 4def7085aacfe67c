import { useEffect, useState } from 'react';

type Change = { value: string; added?: boolean; removed?: boolean };

/** The words that were removed and added. */
export function WordDiff({ before, after }: { before: string; after: string }) {
  const [changes, setChanges] = useState<Change[] | null>(null);
  useEffect(() => {
    let current = true;
    void import('diff').then(({ diffWordsWithSpace }) => {
      if (current) setChanges(diffWordsWithSpace(before, after, { maxEditLength: 4000 }) ?? [{ value: before, removed: true }, { value: after, added: true }]);
    });
    return () => {
      current = false;
    };
  }, [before, after]);
  if (!changes) return <p className="quiet">Comparing …</p>;
  return (
    <p className="word-diff" dir="auto">
      {changes.map((change, index) =>
        change.added ? <ins key={index}>{change.value}</ins> : change.removed ? <del key={index}>{change.value}</del> : <span key={index}>{change.value}</span>,
      )}
    </p>
  );
}
