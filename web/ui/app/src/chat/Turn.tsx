import { ACTIVE_STATUSES, type Message } from '@branchline/client/api/types';
import { AUTO_AUTHOR } from '@branchline/client/thread/session';
import { Star } from 'lucide-react';
import { memo, useContext, useMemo, useState } from 'react';
import { AtOnce } from '../markdown/useRange';
import { MessageList } from '../messages/MessageList';
import { groupParts } from '../messages/parts';
import { useScrollTarget } from '../navigation/openBranch';
import { RunFooter } from '../runs/RunFooter';
import { RunHeader } from '../runs/RunHeader';
import { RunStatus } from '../runs/RunStatus';
import { Steps } from '../runs/Steps';
import { SubRuns } from '../runs/SubRuns';
import { editOf, keptText } from '../stores/keptText';
import { useThread } from '../stores/thread';
import { useWorkerName } from '../stores/workers';
import { BranchPicker } from './BranchPicker';
import { EditMessage } from './EditMessage';
import { TurnActions } from './TurnActions';

const NONE: readonly Message[] = [];

/** What one state adds to the conversation: its messages, the run that filled it, and what can be done with it. */
export const Turn = memo(function Turn({ stateId }: { stateId: string }) {
  const node = useThread((state) => state.data.nodes.get(stateId));
  const messages = useThread((state) => state.data.messages.get(stateId)) ?? NONE;
  const run = useThread((state) => (node?.runId ? state.data.runs.get(node.runId) : undefined));
  const [editing, setEditing] = useState(() => keptText(editOf(stateId)) !== null);
  // What is scrolled to has to be there.
  const isTarget = useScrollTarget(({ target }) => target?.state === stateId);
  const atOnce = useContext(AtOnce);
  const parts = useMemo(() => groupParts(messages), [messages]);
  const workerName = useWorkerName();
  if (!node || node.parentId === null) return messages.length ? <MessageList parts={parts} own={null} name="" /> : null;
  const isUser = !node.runId && (messages[0]?.role ?? 'user') === 'user';
  const isAuto = isUser && messages[0]?.author === AUTO_AUTHOR;
  const worker = run?.worker_id ?? node.workerId;
  const own = node.runId ? worker : isUser ? null : node.author;
  const status = run?.status ?? node.runStatus;
  const isRunning = status === 'running';
  return (
    <article
      className={`turn ${isUser ? 'turn-user' : 'turn-answer'}${isAuto ? ' turn-auto' : ''}`}
      data-state={stateId}
      data-status={status ?? undefined}
      tabIndex={-1}
      aria-label={isAuto ? 'Asked by itself' : isUser ? 'You' : 'Answer'}
      aria-busy={isRunning || undefined}
    >
      {(node.label || node.starred) && (
        <p className="marks">
          {node.starred && <Star aria-label="Starred" className="starred" />}
          {node.label && <span className="label" dir="auto">{node.label}</span>}
        </p>
      )}
      {node.runId && <RunHeader node={node} run={run} />}
      {!node.runId && !isUser && <p className="turn-header"><span className="author">{node.author || 'Message'}</span><span className="model">added manually</span></p>}
      {editing ? (
        <EditMessage stateId={stateId} messages={messages} onDone={() => setEditing(false)} />
      ) : (
        <AtOnce value={isTarget ? 'all' : atOnce}><MessageList parts={parts} own={own} name={isUser ? 'You' : worker ? workerName(worker) : node.author} /></AtOnce>
      )}
      {run && <Steps run={run} />}
      {run && <SubRuns run={run} />}
      {node.runId && <RunStatus node={node} run={run} isEmpty={!messages.some((message) => message.content)} />}
      {!editing && (
        <footer className="turn-footer">
          {/* Actions are hidden at times; what is always visible stands at the edge below its message. */}
          {!isUser && <BranchPicker node={node} />}
          {!(status && ACTIVE_STATUSES.has(status)) && <TurnActions node={node} messages={messages} isUser={isUser} onEdit={() => setEditing(true)} />}
          {isUser && <BranchPicker node={node} />}
          {run && <RunFooter run={run} />}
        </footer>
      )}
    </article>
  );
});
