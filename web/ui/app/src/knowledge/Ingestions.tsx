import { api } from '@branchline/client/api/calls';
import { ACTIVE_STATUSES, type Ingestion, type Run } from '@branchline/client/api/types';
import { followRun } from '@branchline/client/thread/runProgress';
import { MessageSquare, RotateCw, Square } from 'lucide-react';
import { useEffect, useState } from 'react';
import { Link } from 'wouter';
import { threadPath } from '../navigation/routes';
import { queueText } from '../runs/queueText';
import { useWaitingRun } from '../runs/useWaitingRun';
import { documentsChanged, knowledgeChanged, useIngestions } from '../stores/knowledge';
import { useSession } from '../stores/session';
import { Button } from '../ui/Button';
import { notifyError } from '../ui/notifications';
import { formatTime } from '../ui/time';
import { failedOf, outcomeText, progressOf, sentence } from './additions';
import { Failed } from './Failed';

/** What is being added to a source, and what has become of what was added before. */
export function Ingestions({ sourceId }: { sourceId: string }) {
  const { data, error, hasNextPage, isFetchingNextPage, fetchNextPage } = useIngestions(sourceId);
  const ingestions = data?.pages.flatMap((page) => page.items) ?? [];
  if (error) return <Failed error={error} />;
  if (!ingestions.length) return null;
  return (
    <section className="ingestions" aria-labelledby="ingestions-title">
      <h2 id="ingestions-title">Last additions</h2>
      <ul>
        {ingestions.map((ingestion) => (
          <li key={ingestion.run.id}>
            {ACTIVE_STATUSES.has(ingestion.run.status) ? <Active run={ingestion.run} sourceId={sourceId} /> : <Ended ingestion={ingestion} sourceId={sourceId} />}
          </li>
        ))}
      </ul>
      {hasNextPage && <Button look="quiet" disabled={isFetchingNextPage} onClick={() => void fetchNextPage()}>Show earlier ones</Button>}
    </section>
  );
}

/** One that goes on: how far it is, and a button that cancels it. */
function Active({ run, sourceId }: { run: Run; sourceId: string }) {
  const step = useStep(run, sourceId);
  const { data } = useWaitingRun(run.id, run.status === 'queued');
  const progress = progressOf(step);
  const text = step ?? (run.status === 'queued' && data?.queue ? queueText(data, data.queue) : 'Working …');
  return (
    <>
      <div className="ingestion-line">
        <p className="ingestion-step" dir="auto">{text}</p>
        <Button look="quiet" icon={Square} onClick={() => void api.cancelRun(run.id).catch(notifyError)}>Cancel</Button>
      </div>
      <progress aria-label="Adding documents" {...(progress ? { value: progress.done, max: progress.of } : {})} />
    </>
  );
}

/** Milliseconds after which the documents are read again, if more were added. */
const READ_AGAIN = 2000;

/** What a run does now. While it goes on, the documents of its source are read again. */
function useStep(run: Run, sourceId: string): string | null {
  const streams = useSession((state) => state.streams);
  const [step, setStep] = useState<string | null>(null);
  useEffect(() => {
    if (!streams) return undefined;
    let last = Date.now();
    const onStep = (description: string | null) => {
      setStep(description);
      if (Date.now() - last < READ_AGAIN) return;
      last = Date.now();
      documentsChanged(sourceId);
    };
    return followRun(run.thread_id, streams, { onStep, onEnd: () => void knowledgeChanged() });
  }, [streams, run.thread_id, sourceId]);
  return step;
}

function Ended({ ingestion, sourceId }: { ingestion: Ingestion; sourceId: string }) {
  const { run, failed, problems } = ingestion;
  const [busy, setBusy] = useState(false);
  const again = async () => {
    setBusy(true);
    try {
      await api.createIngestion(sourceId, failedOf(ingestion));
      await knowledgeChanged();
    } catch (error) {
      notifyError(error);
    }
    setBusy(false);
  };
  const unnamed = (failed ?? 0) - problems.length;
  return (
    <>
      <div className="ingestion-line">
        <p>
          {outcomeText(ingestion)} <small>{formatTime(run.finished_at)}</small>
        </p>
        {problems.length > 0 && <Button look="quiet" icon={RotateCw} disabled={busy} onClick={() => void again()}>Try again</Button>}
        <Link href={threadPath(run.thread_id, null)} className="button button-quiet"><MessageSquare aria-hidden="true" />Conversation</Link>
      </div>
      {problems.length > 0 && (
        <ul className="problems" aria-label="Documents that could not be added">
          {problems.map(({ name, problem }, index) => (
            <li key={index}><strong dir="auto">{name}</strong> <span dir="auto">{sentence(problem)}</span></li>
          ))}
          {unnamed > 0 && <li>And {unnamed} more</li>}
        </ul>
      )}
    </>
  );
}
