import { CornerDownRight } from 'lucide-react';
import { useWatched } from '../thread/store';
import { countBelow, descend, title } from '../thread/tree';
import { go } from './place';

/** Below a state in the middle of the tree: the ways on from it. */
export function ForkBelow() {
  const threadId = useWatched((state) => state.data.threadId);
  const head = useWatched((state) => state.head);
  const nodes = useWatched((state) => state.data.nodes);
  const children = useWatched((state) => state.data.children);
  const choices = useWatched((state) => state.choices);
  const below = (head ? children.get(head) : undefined)?.filter((id) => nodes.has(id)) ?? [];
  const loaded = useWatched((state) => !!head && state.data.messages.has(head));
  if (!below.length || !loaded || nodes.get(head ?? '')?.parentId === null) return null;
  return (
    <nav className="fork-below" aria-label="The thread goes on from here">
      <p>The model is given everything above. The thread goes on from here:</p>
      <ul>
        {below.map((id) => (
          <li key={id}>
            <button type="button" onClick={() => go(threadId, descend(children, choices, id), { at: id })}>
              <CornerDownRight aria-hidden="true" />
              <span>{title(nodes.get(id) as NonNullable<ReturnType<typeof nodes.get>>)}</span>
              <small>{countBelow(children, id) + 1}</small>
            </button>
          </li>
        ))}
      </ul>
    </nav>
  );
}
