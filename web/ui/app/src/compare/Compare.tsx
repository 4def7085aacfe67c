import type { Message } from '@branchline/client/api/types';
import { loadRun, regenerate } from '@branchline/client/thread/actions';
import { loadHistory, threadStore } from '@branchline/client/thread/store';
import { nodeTitle } from '@branchline/client/thread/titles';
import { countDescendants, leafBelow } from '@branchline/client/thread/tree';
import { ArrowLeft, Check, GitCompareArrows, RefreshCw } from 'lucide-react';
import { useEffect, useMemo, useState } from 'react';
import { MessageView } from '../messages/MessageView';
import { groupParts } from '../messages/parts';
import { openBranch } from '../navigation/openBranch';
import { navigate, threadPath } from '../navigation/routes';
import { RunFooter } from '../runs/RunFooter';
import { RunHeader } from '../runs/RunHeader';
import { RunStatus } from '../runs/RunStatus';
import { Steps } from '../runs/Steps';
import { useThread } from '../stores/thread';
import { Button } from '../ui/Button';
import { notifyError } from '../ui/notifications';
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
  const baseId = base && columns.includes(base) ? base : columns[0];
  const isAnswers = useThread((state) => columns.some((id) => state.data.nodes.get(id)?.runId));
  useEffect(() => {
    if (known && !question) loadHistory(inputId).catch(notifyError);
  }, [known, question, inputId]);

  const regenerateLast = async () => {
    try {
      const last = columns.at(-1);
      if (last) await regenerate(await loadRun(last));
    } catch (error) {
      notifyError(error);
    }
  };
  return (
    <section className="compare" aria-label="Comparison">
      <header className="compare-head">
        <Button look="quiet" icon={ArrowLeft} onClick={() => navigate(threadPath(threadId, lastShown(inputId)))}>Back to chat</Button>
        <p className="compare-question">{node && node.parentId !== null ? nodeTitle(node) : 'Start'}</p>
        <Button icon={GitCompareArrows} aria-pressed={showDiff} onClick={() => setShowDiff(!showDiff)} disabled={columns.length < 2}>Show differences</Button>
        {isAnswers && <Button icon={RefreshCw} onClick={() => void regenerateLast()}>Regenerate</Button>}
      </header>
      <div className="columns" tabIndex={0} role="group" aria-label={`${columns.length} branches`}>
        {columns.map((id, index) => (
          <Column key={id} stateId={id} number={index + 1} against={showDiff && id !== baseId ? (baseId ?? null) : null} isBase={showDiff && id === baseId} onBase={() => setBase(id)} showDiff={showDiff} />
        ))}
        {!columns.length && <p className="empty-list">Nothing to compare yet.</p>}
      </div>
    </section>
  );
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
  const other = useThread((state) => (against ? state.data.messages.get(against) : undefined));
  const run = useThread((state) => (node?.runId ? state.data.runs.get(node.runId) : undefined));
  const children = useThread((state) => state.data.children);
  const parts = useMemo(() => groupParts(messages ?? []), [messages]);
  const known = useThread((state) => !!state.data.cursor);
  useEffect(() => {
    if (known && !messages) loadHistory(stateId).catch(notifyError);
  }, [known, messages, stateId]);
  if (!node) return null;
  const below = countDescendants(children, stateId);
  const choose = () => openBranch(threadId, leafBelow(children, threadStore.getState().choices, stateId), { at: stateId });
  return (
    <article className="column" aria-label={`Branch ${number}`} data-state={stateId}>
      <div className="column-head">
        <span className="column-number" aria-hidden="true">{number}</span>
        {node.runId ? <RunHeader node={node} run={run} /> : <span className="author">You</span>}
        {showDiff && (isBase ? <span className="model">base</span> : <Button look="quiet" onClick={onBase}>Use as base</Button>)}
      </div>
      <div className="column-body">
        {against ? (
          <WordDiff before={answerText(other)} after={answerText(messages)} />
        ) : (
          <div className="message-list">{parts.map((part) => <MessageView key={part.message.id} part={part} />)}</div>
        )}
        {run && <Steps run={run} />}
        {node.runId && <RunStatus node={node} run={run} isEmpty={!messages?.some((message) => message.content)} />}
      </div>
      <footer className="column-foot">
        <Button look="main" icon={Check} onClick={choose}>Continue with this</Button>
        {below > 0 && <span className="quiet">{below} more {below === 1 ? 'message' : 'messages'}</span>}
        <span className="grow" />
        {run && <RunFooter run={run} />}
      </footer>
    </article>
  );
}
