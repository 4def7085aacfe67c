import type { Message } from '@branchline/client/api/types';
import { loadRun, regenerate } from '@branchline/client/thread/actions';
import { loadHistory, threadStore } from '@branchline/client/thread/store';
import { nodeTitle } from '@branchline/client/thread/titles';
import { countDescendants, leafBelow } from '@branchline/client/thread/tree';
import { ArrowLeft, Check, GitCompareArrows, RefreshCw } from 'lucide-react';
import { useEffect, useMemo, useState } from 'react';
import { MessageView } from '../messages/MessageView';
import { together } from '../messages/parts';
import { go } from '../navigation/go';
import { address, navigate } from '../navigation/routes';
import { RunFooter } from '../runs/RunFooter';
import { RunHeader } from '../runs/RunHeader';
import { RunStatus } from '../runs/RunStatus';
import { Steps } from '../runs/Steps';
import { useThread } from '../stores/thread';
import { Button } from '../ui/Button';
import { complain } from '../ui/notes';
import { Difference } from './Difference';

const NONE: readonly string[] = [];

/** The states below one, side by side. */
export function Compare({ inputId }: { inputId: string }) {
  const threadId = useThread((state) => state.data.threadId);
  const node = useThread((state) => state.data.nodes.get(inputId));
  const columns = useThread((state) => state.data.children.get(inputId)) ?? NONE;
  const question = useThread((state) => state.data.messages.get(inputId));
  const known = useThread((state) => !!state.data.cursor);
  const [base, setBase] = useState<string | null>(null);
  const [differs, setDiffers] = useState(false);
  const against = base && columns.includes(base) ? base : columns[0];
  const isAnswers = useThread((state) => columns.some((id) => state.data.nodes.get(id)?.runId));
  useEffect(() => {
    if (known && !question) loadHistory(inputId).catch(complain);
  }, [known, question, inputId]);

  const more = async () => {
    try {
      const last = columns.at(-1);
      if (last) await regenerate(await loadRun(last));
    } catch (error) {
      complain(error);
    }
  };
  return (
    <section className="compare" aria-label="Comparison">
      <header className="compare-head">
        <Button look="quiet" icon={ArrowLeft} onClick={() => navigate(address(threadId, lastShown(inputId)))}>Back to the chat</Button>
        <p className="compare-question">{node && node.parentId !== null ? nodeTitle(node) : 'The beginning'}</p>
        <Button icon={GitCompareArrows} aria-pressed={differs} onClick={() => setDiffers(!differs)} disabled={columns.length < 2}>What differs</Button>
        {isAnswers && <Button icon={RefreshCw} onClick={() => void more()}>One more</Button>}
      </header>
      <div className="columns" tabIndex={0} role="group" aria-label={`${columns.length} branches`}>
        {columns.map((id, index) => (
          <Column key={id} stateId={id} number={index + 1} against={differs && id !== against ? (against ?? null) : null} isBase={differs && id === against} onBase={() => setBase(id)} differs={differs} />
        ))}
        {!columns.length && <p className="empty-list">There is nothing to compare here yet.</p>}
      </div>
    </section>
  );
}

/** The way that was shown, if it leads through here; else the one that was chosen last. */
function lastShown(inputId: string): string | null {
  const { data, head, choices } = threadStore.getState();
  for (let id: string | null | undefined = head; id; id = data.nodes.get(id)?.parentId) if (id === inputId) return head as string;
  return data.cursor ? leafBelow(data.children, choices, inputId) : null;
}

function words(said: readonly Message[] | undefined): string {
  return (said ?? []).filter((message) => message.channel === 'answer' && message.role !== 'tool').map((message) => message.content).join('\n\n');
}

function Column({ stateId, number, against, isBase, onBase, differs }: {
  stateId: string;
  number: number;
  against: string | null;
  isBase: boolean;
  onBase: () => void;
  differs: boolean;
}) {
  const threadId = useThread((state) => state.data.threadId);
  const node = useThread((state) => state.data.nodes.get(stateId));
  const said = useThread((state) => state.data.messages.get(stateId));
  const other = useThread((state) => (against ? state.data.messages.get(against) : undefined));
  const run = useThread((state) => (node?.runId ? state.data.runs.get(node.runId) : undefined));
  const children = useThread((state) => state.data.children);
  const parts = useMemo(() => together(said ?? []), [said]);
  const known = useThread((state) => !!state.data.cursor);
  useEffect(() => {
    if (known && !said) loadHistory(stateId).catch(complain);
  }, [known, said, stateId]);
  if (!node) return null;
  const below = countDescendants(children, stateId);
  const choose = () => go(threadId, leafBelow(children, threadStore.getState().choices, stateId), { at: stateId });
  return (
    <article className="column" aria-label={`Branch ${number}`} data-state={stateId}>
      <div className="column-head">
        <span className="column-number" aria-hidden="true">{number}</span>
        {node.runId ? <RunHeader node={node} run={run} /> : <span className="author">You</span>}
        {differs && (isBase ? <span className="model">compared with</span> : <Button look="quiet" onClick={onBase}>Compare with this</Button>)}
      </div>
      <div className="column-body">
        {against ? (
          <Difference before={words(other)} after={words(said)} />
        ) : (
          <div className="said">{parts.map((part) => <MessageView key={part.message.id} part={part} />)}</div>
        )}
        {run && <Steps run={run} />}
        {node.runId && <RunStatus node={node} run={run} silent={!said?.some((message) => message.content)} />}
      </div>
      <footer className="column-foot">
        <Button look="main" icon={Check} onClick={choose}>Go on with this</Button>
        {below > 0 && <span className="quiet">{below} more below</span>}
        <span className="grow" />
        {run && <RunFooter run={run} />}
      </footer>
    </article>
  );
}
