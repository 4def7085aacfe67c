import type { Node } from '@branchline/client/thread/state';
import { nodeTitle } from '@branchline/client/thread/titles';
import { countDescendants, leafBelow } from '@branchline/client/thread/tree';
import { CornerDownRight } from 'lucide-react';
import { openBranch } from '../navigation/openBranch';
import { useThread } from '../stores/thread';

/** The branches below the head, where the head is not the end of a branch. */
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
    <nav className="fork-below" aria-label="Branches from here">
      <p>The model sees everything above. The thread continues from here:</p>
      <ul>
        {below.map((id) => (
          <li key={id}>
            <button type="button" onClick={() => openBranch(threadId, leafBelow(children, choices, id), { at: id })}>
              <CornerDownRight aria-hidden="true" />
              <span dir="auto">{nodeTitle(nodes.get(id) as Node)}</span>
              <small>{countDescendants(children, id) + 1}</small>
            </button>
          </li>
        ))}
      </ul>
    </nav>
  );
}
