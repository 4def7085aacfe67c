import type { Node } from '@branchline/client/thread/state';
import { countDescendants, leafBelow } from '@branchline/client/thread/tree';
import { ChevronLeft, ChevronRight } from 'lucide-react';
import { go } from '../navigation/go';
import { address, navigate } from '../navigation/routes';
import { useThread } from '../stores/thread';
import { IconButton } from '../ui/Button';

/** ‹2/3›: the other ways from the state before. */
export function BranchPicker({ node }: { node: Node }) {
  const threadId = useThread((state) => state.data.threadId);
  const siblings = useThread((state) => state.data.children.get(node.parentId ?? ''));
  const children = useThread((state) => state.data.children);
  const choices = useThread((state) => state.choices);
  if (!siblings || siblings.length < 2) return null;
  const place = siblings.indexOf(node.id);
  const to = (index: number) => {
    const other = siblings[index];
    if (other) go(threadId, leafBelow(children, choices, other), { at: other, instead: node.id });
  };
  const others = siblings.reduce((sum, id) => (id === node.id ? sum : sum + 1 + countDescendants(children, id)), 0);
  const elsewhere = `${others} more ${others === 1 ? 'message' : 'messages'} on other branches`;
  return (
    <div className="picker" role="group" aria-label={`Branch ${place + 1} of ${siblings.length}`}>
      <IconButton label="Branch before" icon={ChevronLeft} disabled={place <= 0} onClick={() => to(place - 1)} />
      <span aria-hidden="true">{place + 1}/{siblings.length}</span>
      <IconButton label="Next branch" icon={ChevronRight} disabled={place >= siblings.length - 1} onClick={() => to(place + 1)} />
      <button type="button" className="elsewhere" title="Compare them" onClick={() => navigate(address(threadId, node.parentId ?? '', 'compare'))}>
        {elsewhere}
      </button>
    </div>
  );
}
