import { ACTIVE_STATUSES, type Message, type Run } from '@branchline/client/api/types';
import { cancelRun, updateState } from '@branchline/client/thread/actions';
import { loadHistory, threadStore } from '@branchline/client/thread/store';
import { nodeAuthor, nodeTitle } from '@branchline/client/thread/titles';
import { branchOf, countDescendants, leafBelow } from '@branchline/client/thread/tree';
import { ArrowLeft, Check, GitCompareArrows, RefreshCw, Square, Star } from 'lucide-react';
import { useEffect, useMemo, useState } from 'react';
import { Turn } from '../chat/Turn';
import { MessageList } from '../messages/MessageList';
import { groupParts } from '../messages/parts';
import { openBranch } from '../navigation/openBranch';
import { navigate, threadPath } from '../navigation/routes';
import { askAgain } from '../runs/askAgain';
import { RunFooter } from '../runs/RunFooter';
import { RunHeader } from '../runs/RunHeader';
import { RunStatus } from '../runs/RunStatus';
import { Steps } from '../runs/Steps';
import { useThread } from '../stores/thread';
import { useWorkerName } from '../stores/workers';
import { Button, IconButton } from '../ui/Button';
import { CopyButton } from '../ui/CopyButton';
import { notifyError } from '../ui/notifications';
import { ReplyToAll } from './ReplyToAll';
import { WordDiff } from './WordDiff';

const NONE: readonly string[] = [];

/** The children of a state side by side. */
export function Compare({ inputId }: { inputId: string }) {
  const threadId = useThread((state) => state.data.threadId);
  const node = useThread((state) => state.data.nodes.get(inputId));
  const columns = useThread((state) => state.data.children.get(inputId)) ?? NONE;
  const question = useThread((state) => state.data.messages.get(inputId));
  const known = useThread((state) => !!state.data.cursor);
  const [base, setBase] = useState<string | null>(null);
  const [showDiff, setShowDiff] = useState(false);
  const runs = useThread((state) => state.data.runs);
  const nodes = useThread((state) => state.data.nodes);
  const children = useThread((state) => state.data.children);
  const choices = useThread((state) => state.choices);
  const active = useMemo(
    () => columns.flatMap((id) => branchOf(children, choices, id)).flatMap((id) => runs.get(nodes.get(id)?.runId ?? '') ?? []).filter(isActive),
    [columns, children, choices, nodes, runs],
  );
  const baseId = base && columns.includes(base) ? base : columns[0];
  const isAnswers = useThread((state) => columns.some((id) => state.data.nodes.get(id)?.runId));
  useEffect(() => {
    if (known && !question) loadHistory(inputId).catch(notifyError);
  }, [known, question, inputId]);

  const regenerateLast = async () => {
    try {
      const last = columns.at(-1);
      if (last) await askAgain(last);
    } catch (error) {
      notifyError(error);
    }
  };
  return (
    <section className="compare" aria-label="Comparison">
      <header className="compare-head">
        <Button look="quiet" icon={ArrowLeft} onClick={() => navigate(threadPath(threadId, lastShown(inputId)))}>Back to chat</Button>
        <p className="compare-question" dir="auto">{node && node.parentId !== null ? nodeTitle(node) : 'Start'}</p>
        <Button icon={GitCompareArrows} aria-pressed={showDiff} onClick={() => setShowDiff(!showDiff)} disabled={columns.length < 2}>Show differences</Button>
        {isAnswers && <Button icon={RefreshCw} onClick={() => void regenerateLast()}>Regenerate</Button>}
        {active.length > 1 && <Button icon={Square} onClick={() => active.forEach(stop)}>Stop all</Button>}
      </header>
      <div className="columns" tabIndex={0} role="group" aria-label={`${columns.length} branches`}>
        {columns.map((id, index) => (
          <Column key={id} stateId={id} number={index + 1} against={showDiff && id !== baseId ? (baseId ?? null) : null} isBase={showDiff && id === baseId} onBase={() => setBase(id)} showDiff={showDiff} />
        ))}
        {!columns.length && <p className="empty-list">Nothing to compare yet.</p>}
      </div>
      {isAnswers && columns.length > 1 && <ReplyToAll key={inputId} inputId={inputId} columns={columns} disabled={active.length > 0 || !columns.every((id) => nodes.has(id))} />}
    </section>
  );
}

function isActive(run: Run): boolean {
  return ACTIVE_STATUSES.has(run.status);
}

function stop(run: Run): void {
  cancelRun(run).catch(notifyError);
}

/** The head that was shown if its path leads through the state; else the leaf of the branch that was chosen last. */
function lastShown(inputId: string): string | null {
  const { data, head, choices } = threadStore.getState();
  for (let id: string | null | undefined = head; id; id = data.nodes.get(id)?.parentId) if (id === inputId) return head as string;
  return data.cursor ? leafBelow(data.children, choices, inputId) : null;
}

function answerText(messages: readonly Message[] | undefined): string {
  return (messages ?? []).filter((message) => message.channel === 'answer' && message.role !== 'tool').map((message) => message.content).join('\n\n');
}

/** One of the states: its branch down to the leaf, and what can be done with it. */
function Column({ stateId, number, against, isBase, onBase, showDiff }: {
  stateId: string;
  number: number;
  against: string | null;
  isBase: boolean;
  onBase: () => void;
  showDiff: boolean;
}) {
  const threadId = useThread((state) => state.data.threadId);
  const node = useThread((state) => state.data.nodes.get(stateId));
  const messages = useThread((state) => state.data.messages.get(stateId));
  const workerName = useWorkerName();
  const other = useThread((state) => (against ? state.data.messages.get(against) : undefined));
  const run = useThread((state) => (node?.runId ? state.data.runs.get(node.runId) : undefined));
  const children = useThread((state) => state.data.children);
  const parts = useMemo(() => groupParts(messages ?? []), [messages]);
  const choices = useThread((state) => state.choices);
  const runs = useThread((state) => state.data.runs);
  const nodes = useThread((state) => state.data.nodes);
  const known = useThread((state) => !!state.data.cursor);
  useEffect(() => {
    if (known && !messages) loadHistory(stateId).catch(notifyError);
  }, [known, messages, stateId]);
  if (!node) return null;
  const branch = branchOf(children, choices, stateId);
  const below = countDescendants(children, stateId) + 1 - branch.length;
  const working = branch.flatMap((id) => runs.get(nodes.get(id)?.runId ?? '') ?? []).filter(isActive);
  const choose = () => openBranch(threadId, branch.at(-1) ?? stateId, { at: stateId });
  return (
    <article className="column" aria-label={`Branch ${number}`} data-state={stateId}>
      <div className="column-head">
        <span className="column-number" aria-hidden="true">{number}</span>
        {node.runId ? <RunHeader node={node} run={run} /> : <span className="author">{nodeAuthor(node, workerName)}</span>}
        {showDiff && (isBase ? <span className="model">base</span> : <Button look="quiet" onClick={onBase}>Use as base</Button>)}
      </div>
      <div className="column-body" tabIndex={0}>
        {against ? (
          <WordDiff before={answerText(other)} after={answerText(messages)} />
        ) : (
          <MessageList parts={parts} own={node.workerId ?? node.author} name={nodeAuthor(node, workerName)} />
        )}
        {run && <Steps run={run} />}
        {node.runId && <RunStatus node={node} run={run} isEmpty={!messages?.some((message) => message.content)} />}
        {branch.slice(1).map((id) => <Turn key={id} stateId={id} />)}
      </div>
      <footer className="column-foot">
        <Button look="main" icon={Check} onClick={choose}>Continue with this</Button>
        {working.length > 0 && <Button icon={Square} onClick={() => working.forEach(stop)}>Stop</Button>}
        <CopyButton text={() => answerText(messages)} />
        <IconButton
          label={node.starred ? 'Unstar' : 'Star'}
          icon={Star}
          aria-pressed={node.starred}
          className={node.starred ? 'starred' : ''}
          onClick={() => void updateState(node.id, { starred: !node.starred }).catch(notifyError)}
        />
        {below > 0 && <span className="quiet">{below} more {below === 1 ? 'message' : 'messages'}</span>}
        <span className="grow" />
        {run && <RunFooter run={run} />}
      </footer>
    </article>
  );
}
