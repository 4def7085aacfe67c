import { BASE_PATH } from '@branchline/client/api/basePath';
import { api } from '@branchline/client/api/calls';
import type { Message } from '@branchline/client/api/types';
import { updateState } from '@branchline/client/thread/actions';
import { canGoOnFrom } from '@branchline/client/thread/session';
import { changeSession } from '@branchline/client/thread/sessionActions';
import type { Node } from '@branchline/client/thread/state';
import { Columns2, Copy, Ellipsis, FileText, GitBranchPlus, Link2, MapPin, MessagesSquare, Pencil, RefreshCw, Star, Tag } from 'lucide-react';
import { useState } from 'react';
import { asMarkdown, asPlainText } from '../messages/copied';
import { openBranch } from '../navigation/openBranch';
import { navigate, threadPath } from '../navigation/routes';
import { askAgain } from '../runs/askAgain';
import { useThread } from '../stores/thread';
import { useWorkers } from '../stores/workers';
import { IconButton } from '../ui/Button';
import { copy, CopyButton } from '../ui/CopyButton';
import { Menu, MenuItem, MenuLabel, MenuSeparator } from '../ui/Menu';
import { notify, notifyError } from '../ui/notifications';
import { editableMessage } from './EditMessage';
import { LabelDialog } from './LabelDialog';
import { ModelInput } from './ModelInput';

/** What can be done with a state. */
export function TurnActions({ node, messages, isUser, onEdit }: { node: Node; messages: readonly Message[]; isUser: boolean; onEdit: () => void }) {
  const threadId = useThread((state) => state.data.threadId);
  const head = useThread((state) => state.head);
  const siblings = useThread((state) => state.data.children.get(node.parentId ?? '')?.length ?? 0);
  const goesOn = useThread((state) => canGoOnFrom(state.data, node.id));
  const [labeling, setLabeling] = useState(false);
  const [showingInput, setShowingInput] = useState(false);
  const workers = useWorkers().data?.filter((worker) => worker.available) ?? [];
  const answerAgain = async (n: number, worker?: string) => {
    try {
      const sent = await askAgain(node.id, { n, ...(worker && { worker }) });
      const [first = ''] = sent.outputIds;
      if (n > 1 || worker) navigate(threadPath(threadId, sent.inputId, 'compare'));
      else openBranch(threadId, first, { at: first, instead: node.id });
    } catch (error) {
      notifyError(error);
    }
  };
  return (
    <div className="actions">
      <CopyButton text={() => asMarkdown(messages)} />
      {!isUser && node.runId && <IconButton label="Regenerate" icon={RefreshCw} onClick={() => void answerAgain(1)} />}
      {editableMessage(messages) && <IconButton label="Edit" icon={Pencil} onClick={onEdit} />}
      {head !== node.id && <IconButton label="Continue from here" icon={GitBranchPlus} onClick={() => openBranch(threadId, node.id, { end: true })} />}
      <IconButton
        label={node.starred ? 'Unstar' : 'Star'}
        icon={Star}
        aria-pressed={node.starred}
        className={node.starred ? 'starred' : ''}
        onClick={() => void updateState(node.id, { starred: !node.starred }).catch(notifyError)}
      />
      <Menu align="start" trigger={<button type="button" className="icon-button" aria-label="More actions"><Ellipsis aria-hidden="true" /></button>}>
        {node.runId && (
          <>
            <MenuItem icon={RefreshCw} onSelect={() => void answerAgain(3)}>Regenerate 3 times</MenuItem>
            {workers.length > 1 && <MenuLabel>Regenerate with</MenuLabel>}
            {workers.length > 1 &&
              workers.filter((worker) => worker.id !== node.workerId).slice(0, 6).map((worker) => (
                <MenuItem key={worker.id} icon={RefreshCw} onSelect={() => void answerAgain(1, worker.id)}>{worker.name}</MenuItem>
              ))}
            <MenuSeparator />
          </>
        )}
        {siblings > 1 && (
          <MenuItem icon={Columns2} onSelect={() => navigate(threadPath(threadId, node.parentId ?? '', 'compare'))}>Compare branches</MenuItem>
        )}
        {goesOn && (
          <MenuItem icon={MapPin} onSelect={() => void changeSession(threadId, { tip_state_id: node.id }).then(() => notify('The session goes on from here'), notifyError)}>
            Let it go on from here
          </MenuItem>
        )}
        {node.runId && <MenuItem icon={MessagesSquare} onSelect={() => setShowingInput(true)}>Show model input</MenuItem>}
        <MenuItem icon={Tag} onSelect={() => setLabeling(true)}>{node.label ? 'Edit label' : 'Add label'}</MenuItem>
        {!isUser && <MenuItem icon={Copy} onSelect={() => void copy(asPlainText(messages))}>Copy as plain text</MenuItem>}
        <MenuItem icon={Link2} onSelect={() => void copy(location.origin + BASE_PATH + threadPath(threadId, node.id))}>Copy link</MenuItem>
        <MenuItem icon={FileText} onSelect={() => location.assign(api.exportUrl(threadId, 'markdown', node.id))}>Export up to here</MenuItem>
      </Menu>
      {showingInput && <ModelInput node={node} onClose={() => setShowingInput(false)} />}
      {labeling && <LabelDialog node={node} onClose={() => setLabeling(false)} />}
    </div>
  );
}
