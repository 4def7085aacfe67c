import { useMemo } from 'react';
import { useWatched } from '../thread/store';
import { way } from '../thread/tree';

/** The states of the way that is shown, from the topmost that is known. */
export function useWay(): string[] {
  const nodes = useWatched((state) => state.data.nodes);
  const head = useWatched((state) => state.head);
  return useMemo(() => way(nodes, head), [nodes, head]);
}
