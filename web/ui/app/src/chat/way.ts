import { way } from '@branchline/client/thread/tree';
import { useMemo } from 'react';
import { useThread } from '../stores/thread';

/** The states of the way that is shown, from the topmost that is known. */
export function useWay(): string[] {
  const nodes = useThread((state) => state.data.nodes);
  const head = useThread((state) => state.head);
  return useMemo(() => way(nodes, head), [nodes, head]);
}
