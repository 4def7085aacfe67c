import type { Node } from '@branchline/client/thread/state';
import { countDescendants, leafBelow } from '@branchline/client/thread/tree';
import { ChevronLeft, ChevronRight } from 'lucide-react';
import { openBranch } from '../navigation/openBranch';
import { navigate, threadPath } from '../navigation/routes';
import { useThread } from '../stores/thread';
import { IconButton } from '../ui/Button';

/** ‹2/3›: the state's siblings, each the beginning of another branch. */
export function BranchPicker({ node }: { node: Node }) {
  const threadId = useThread((state) => state.data.threadId);
  const siblings = useThread((state) => state.data.children.get(node.parentId ?? ''));
  const children = useThread((state) => state.data.children);
  const choices = useThread((state) => state.choices);
  if (!siblings || siblings.length < 2) return null;
  const position = siblings.indexOf(node.id);
  const show = (index: number) => {
    const other = siblings[index];
    if (other) openBranch(threadId, leafBelow(children, choices, other), { at: other, instead: node.id });
  };
  const others = siblings.reduce((sum, id) => (id === node.id ? sum : sum + 1 + countDescendants(children, id)), 0);
  const text = `${others} more ${others === 1 ? 'message' : 'messages'} on other branches`;
  return (
    <div className="picker" role="group" aria-label={`Branch ${position + 1} of ${siblings.length}`}>
      <IconButton label="Previous branch" icon={ChevronLeft} disabled={position <= 0} onClick={() => show(position - 1)} />
      <span aria-hidden="true">{position + 1}/{siblings.length}</span>
      <IconButton label="Next branch" icon={ChevronRight} disabled={position >= siblings.length - 1} onClick={() => show(position + 1)} />
      <button type="button" className="other-branches" title="Compare branches" onClick={() => navigate(threadPath(threadId, node.parentId ?? '', 'compare'))}>
        {text}
      </button>
    </div>
  );
}
