import { nodeTitle } from '@branchline/client/thread/titles';
import { countDescendants, leafBelow } from '@branchline/client/thread/tree';
import { CornerDownRight } from 'lucide-react';
import { go } from '../navigation/go';
import { useThread } from '../stores/thread';

/** Below a state in the middle of the tree: the ways on from it. */
export function ForkBelow() {
  const threadId = useThread((state) => state.data.threadId);
  const head = useThread((state) => state.head);
  const nodes = useThread((state) => state.data.nodes);
  const children = useThread((state) => state.data.children);
  const choices = useThread((state) => state.choices);
  const below = (head ? children.get(head) : undefined)?.filter((id) => nodes.has(id)) ?? [];
  const loaded = useThread((state) => !!head && state.data.messages.has(head));
  if (!below.length || !loaded || nodes.get(head ?? '')?.parentId === null) return null;
  return (
    <nav className="fork-below" aria-label="The thread goes on from here">
      <p>The model is given everything above. The thread goes on from here:</p>
      <ul>
        {below.map((id) => (
          <li key={id}>
            <button type="button" onClick={() => go(threadId, leafBelow(children, choices, id), { at: id })}>
              <CornerDownRight aria-hidden="true" />
              <span>{nodeTitle(nodes.get(id) as NonNullable<ReturnType<typeof nodes.get>>)}</span>
              <small>{countDescendants(children, id) + 1}</small>
            </button>
          </li>
        ))}
      </ul>
    </nav>
  );
}
