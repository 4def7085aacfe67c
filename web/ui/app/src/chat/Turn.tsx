import { api } from '@branchline/client/api/calls';
import { type Message, UNDER_WAY } from '@branchline/client/api/types';
import type { Node } from '@branchline/client/thread/reducer';
import { countBelow, descend } from '@branchline/client/thread/tree';
import {
  Check,
  ChevronLeft,
  ChevronRight,
  Columns2,
  Ellipsis,
  FileText,
  GitBranchPlus,
  Link2,
  Pencil,
  RefreshCw,
  Star,
  Tag,
} from 'lucide-react';
import { memo, useMemo, useState } from 'react';
import { useWorkers } from '../session';
import { useThread } from '../stores/thread';
import { IconButton } from '../ui/Button';
import { copy, CopyButton } from '../ui/CopyButton';
import { Menu, MenuItem, MenuLabel, MenuLine } from '../ui/Menu';
import { complain } from '../ui/notes';
import { usePreferences } from '../ui/preferences';
import { again, mark, runOf } from './ask';
import { EditMessage, subjectOf } from './EditMessage';
import { MessageView, together } from './MessageView';
import { NameDialog } from './NameDialog';
import { address, go, navigate } from './place';
import { RunFoot, RunHead, RunTrouble } from './RunView';
import { Steps } from './Steps';

const NONE: readonly Message[] = [];

/** What one state adds to the conversation. */
export const Turn = memo(function Turn({ stateId }: { stateId: string }) {
  const node = useThread((state) => state.data.nodes.get(stateId));
  const said = useThread((state) => state.data.messages.get(stateId)) ?? NONE;
  const run = useThread((state) => (node?.runId ? state.data.runs.get(node.runId) : undefined));
  const [editing, setEditing] = useState(false);
  const parts = useMemo(() => together(said), [said]);
  if (!node || node.parentId === null) return said.length ? <Messages parts={parts} /> : null;
  const mine = !node.runId && (said[0]?.role ?? 'user') === 'user';
  const status = run?.status ?? node.runStatus;
  const writing = status === 'running';
  return (
    <article
      className={`turn ${mine ? 'turn-mine' : 'turn-theirs'}`}
      data-state={stateId}
      data-status={status ?? undefined}
      tabIndex={-1}
      aria-label={mine ? 'You' : 'Answer'}
      aria-busy={writing || undefined}
    >
      {(node.label || node.starred) && (
        <p className="marks">
          {node.starred && <Star aria-label="Starred" className="starred" />}
          {node.label && <span className="label">{node.label}</span>}
        </p>
      )}
      {node.runId && <RunHead node={node} run={run} />}
      {!node.runId && !mine && <p className="turn-head"><span className="author">{node.author || 'Message'}</span><span className="model">written by hand</span></p>}
      {editing ? (
        <EditMessage stateId={stateId} messages={said} onDone={() => setEditing(false)} />
      ) : (
        <Messages parts={parts} />
      )}
      {run && <Steps run={run} />}
      {node.runId && <RunTrouble node={node} run={run} silent={!said.some((message) => message.content)} />}
      {!editing && (
        <footer className="turn-foot">
          <Picker node={node} />
          {!(status && UNDER_WAY.has(status)) && <Actions node={node} said={said} mine={mine} onEdit={() => setEditing(true)} />}
          {run && <RunFoot run={run} />}
        </footer>
      )}
    </article>
  );
});

function Messages({ parts }: { parts: ReturnType<typeof together> }) {
  return (
    <div className="said">
      {parts.map((part) => <MessageView key={part.message.id} part={part} />)}
    </div>
  );
}

/** ‹2/3›: the other ways from the state before. */
function Picker({ node }: { node: Node }) {
  const threadId = useThread((state) => state.data.threadId);
  const siblings = useThread((state) => state.data.children.get(node.parentId ?? ''));
  const children = useThread((state) => state.data.children);
  const choices = useThread((state) => state.choices);
  if (!siblings || siblings.length < 2) return null;
  const place = siblings.indexOf(node.id);
  const to = (index: number) => {
    const other = siblings[index];
    if (other) go(threadId, descend(children, choices, other), { at: other, instead: node.id });
  };
  const others = siblings.reduce((sum, id) => (id === node.id ? sum : sum + 1 + countBelow(children, id)), 0);
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

function Actions({ node, said, mine, onEdit }: { node: Node; said: readonly Message[]; mine: boolean; onEdit: () => void }) {
  const threadId = useThread((state) => state.data.threadId);
  const head = useThread((state) => state.head);
  const siblings = useThread((state) => state.data.children.get(node.parentId ?? '')?.length ?? 0);
  const [naming, setNaming] = useState(false);
  const workers = useWorkers().data?.filter((worker) => worker.available) ?? [];
  const text = () => said.filter((message) => message.channel === 'answer').map((message) => message.content).join('\n\n');
  const repeat = async (n: number, worker?: string) => {
    try {
      const configs = usePreferences.getState().configs;
      const asked = await again(await runOf(node.id), n, worker ? { id: worker, config: configs[worker] ?? {} } : undefined);
      const [first = ''] = asked.outputs;
      if (n > 1 || worker) navigate(address(threadId, asked.input, 'compare'));
      else go(threadId, first, { at: first, instead: node.id });
    } catch (error) {
      complain(error);
    }
  };
  return (
    <div className="actions">
      <CopyButton text={text} />
      {!mine && node.runId && <IconButton label="Ask again" icon={RefreshCw} onClick={() => void repeat(1)} />}
      {subjectOf(said) && <IconButton label="Edit" icon={Pencil} onClick={onEdit} />}
      {head !== node.id && <IconButton label="Go on from here" icon={GitBranchPlus} onClick={() => go(threadId, node.id, { end: true })} />}
      <IconButton
        label={node.starred ? 'Take the star away' : 'Star'}
        icon={Star}
        aria-pressed={node.starred}
        className={node.starred ? 'starred' : ''}
        onClick={() => void mark(node.id, { starred: !node.starred }).catch(complain)}
      />
      <Menu align="start" trigger={<button type="button" className="icon-button" aria-label="More about this message"><Ellipsis aria-hidden="true" /></button>}>
        {node.runId && (
          <>
            <MenuItem icon={RefreshCw} onSelect={() => void repeat(3)}>Ask three times more</MenuItem>
            {workers.length > 1 && <MenuLabel>Ask another worker</MenuLabel>}
            {workers.length > 1 &&
              workers.filter((worker) => worker.id !== node.workerId).slice(0, 6).map((worker) => (
                <MenuItem key={worker.id} icon={RefreshCw} onSelect={() => void repeat(1, worker.id)}>{worker.name}</MenuItem>
              ))}
            <MenuLine />
          </>
        )}
        {siblings > 1 && (
          <MenuItem icon={Columns2} onSelect={() => navigate(address(threadId, node.parentId ?? '', 'compare'))}>Compare the branches</MenuItem>
        )}
        {node.runId && (
          <MenuItem icon={Check} onSelect={() => go(threadId, node.parentId ?? '', { end: true })}>What the model was given</MenuItem>
        )}
        <MenuItem icon={Tag} onSelect={() => setNaming(true)}>{node.label ? 'Change the name' : 'Name this point'}</MenuItem>
        <MenuItem icon={Link2} onSelect={() => void copy(location.origin + address(threadId, node.id))}>Copy the address</MenuItem>
        <MenuItem icon={FileText} onSelect={() => location.assign(api.exportUrl(threadId, 'markdown', node.id))}>Export up to here</MenuItem>
      </Menu>
      {naming && <NameDialog node={node} onClose={() => setNaming(false)} />}
    </div>
  );
}

