import { api } from '@branchline/client/api/calls';
import type { Confirmation, Run } from '@branchline/client/api/types';
import type { Node } from '@branchline/client/thread/reducer';
import { dispatch } from '@branchline/client/thread/store';
import { useQuery } from '@tanstack/react-query';
import { CircleSlash, Clock, RefreshCw, Square, TriangleAlert } from 'lucide-react';
import { type FormEvent, useEffect, useState } from 'react';
import { useWorkers } from '../session';
import { useThread } from '../stores/thread';
import { Button } from '../ui/Button';
import { Dialog } from '../ui/Dialog';
import { announce, complain } from '../ui/notes';
import { duration, moment } from '../ui/time';
import { again, answer, runOf, stop } from './ask';
import { go } from './place';
import { Timeline, useAttempts, useStepCount } from './Steps';

/** Who answers, and with what. */
export function RunHead({ node, run }: { node: Node; run: Run | undefined }) {
  const workers = useWorkers().data;
  const id = run?.worker_id ?? node.workerId ?? '';
  const name = workers?.find((worker) => worker.id === id)?.name ?? (id || node.author || 'Assistant');
  const status = run?.status ?? node.runStatus;
  useSpoken(status, name);
  const model = typeof run?.config['model'] === 'string' ? run.config['model'] : '';
  return (
    <header className="turn-head">
      <span className="author">{name}</span>
      {model && <span className="model">{model}</span>}
      {status === 'running' && <span className="pulse" aria-hidden="true" />}
      {run && run.attempt > 1 && <span className="model" title="What an earlier attempt had written does not count.">attempt {run.attempt}</span>}
    </header>
  );
}

/** Tell those who listen when an answer begins and ends, not each of its words. */
function useSpoken(status: string | null | undefined, name: string): void {
  const [before, setBefore] = useState(status);
  useEffect(() => {
    if (status === before) return;
    setBefore(status);
    if (status === 'running') announce(`${name} is answering`);
    else if (status === 'success') announce(`${name} is done`);
    else if (status === 'waiting') announce(`${name} asks you something`);
  }, [status, before, name]);
}

/** What keeps a run from answering, what it asks, and what went wrong. */
export function RunTrouble({ node, run, silent }: { node: Node; run: Run | undefined; silent: boolean }) {
  const status = run?.status ?? node.runStatus;
  if (status === 'queued' && node.runId) return <Queued runId={node.runId} />;
  if (status === 'running') return <Running run={run} silent={silent} />;
  if (status === 'waiting' && run) return <Question run={run} />;
  if (status === 'error' || status === 'timeout' || status === 'cancelled') return <Failed node={node} run={run} status={status} />;
  if (status === 'success' && silent && run) return <p className="quiet">It ended without a word.</p>;
  return null;
}

function Queued({ runId }: { runId: string }) {
  const { data: run } = useQuery({ queryKey: ['queue', runId], queryFn: () => api.oneRun(runId), refetchInterval: 2500 });
  useEffect(() => {
    if (run && run.status !== 'queued') dispatch({ type: 'run', run });
  }, [run]);
  const queue = run?.queue;
  return (
    <p className="state-line">
      <Clock aria-hidden="true" />
      <span>{queue ? queueWords(queue) : 'Waiting to start'}</span>
      <Button look="quiet" onClick={() => void stop({ id: runId }).catch(complain)}>Do not ask</Button>
    </p>
  );
}

function queueWords(queue: { position: number; pool_seen: boolean; pool: string; reason: string }): string {
  if (!queue.pool_seen) return `Waiting: nothing runs the pool “${queue.pool}” at the moment. It starts as soon as one is there.`;
  return queue.position > 1 ? `Waiting to start: number ${queue.position} in the queue` : 'Waiting to start';
}

function Running({ run, silent }: { run: Run | undefined; silent: boolean }) {
  const steps = useStepCount(run);
  if (steps > 0 || !silent) return null;
  return (
    <p className="state-line state-running">
      <span className="dots" aria-hidden="true"><i /><i /><i /></span>
      <span>Working</span>
    </p>
  );
}

/** What a waiting run asks its user. */
function Question({ run }: { run: Run }) {
  const asked = run.confirmation as Confirmation | null;
  const [text, setText] = useState('');
  const [busy, setBusy] = useState(false);
  if (!asked) return null;
  const options = Array.isArray(asked.options) ? asked.options : [];
  const give = (given: unknown) => {
    setBusy(true);
    answer(run, given).catch((error: unknown) => {
      setBusy(false);
      complain(error);
    });
  };
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (text.trim()) give(text);
  };
  return (
    <section className="question" aria-label="A question to you" role="group">
      <p>{asked.prompt}</p>
      <div className="options">
        {options.map((option) => {
          const name = typeof option === 'string' ? option : String((option as { label?: string })?.label ?? JSON.stringify(option));
          return <Button key={name} disabled={busy} onClick={() => give(option)}>{name}</Button>;
        })}
        {options.length === 0 && (
          <form onSubmit={submit}>
            <input className="input" aria-label="Your answer" value={text} onChange={(event) => setText(event.target.value)} />
            <Button look="main" type="submit" disabled={busy || !text.trim()}>Answer</Button>
          </form>
        )}
        <Button look="quiet" icon={Square} disabled={busy} onClick={() => void stop(run).catch(complain)}>Stop</Button>
      </div>
    </section>
  );
}

const MEANING: Record<string, string> = {
  worker_error: 'The worker said that it could not go on.',
  worker_crashed: 'The worker broke down in the middle.',
  output_too_large: 'The answer grew larger than is allowed.',
  protocol_error: 'The worker said something that cannot be understood.',
  start_failed: 'The worker could not be started.',
  timeout: 'It took longer than it was given.',
  lost: 'The machine it ran on was lost, more often than it is tried again.',
  worker_unknown: 'The worker is not known where it was to run.',
  worker_unavailable: 'The worker is not available.',
};

function Failed({ node, run: known, status }: { node: Node; run: Run | undefined; status: 'error' | 'timeout' | 'cancelled' }) {
  const { data: asked } = useQuery({
    queryKey: ['run', node.runId],
    queryFn: () => runOf(node.id),
    enabled: !known && !!node.runId,
    staleTime: Infinity,
  });
  const run = known ?? asked;
  const [log, setLog] = useState(false);
  const threadId = useThread((state) => state.data.threadId);
  const retry = async () => {
    try {
      const [first = ''] = (await again(await runOf(node.id))).outputs;
      go(threadId, first, { at: first, instead: node.id });
    } catch (error) {
      complain(error);
    }
  };
  const stopped = status === 'cancelled';
  const words = stopped ? 'Stopped. What it had said until then is kept.' : (MEANING[status === 'timeout' ? 'timeout' : (run?.error?.code ?? '')] ?? 'It did not work out.');
  const detail = !stopped && run?.error?.message;
  return (
    <section className={stopped ? 'trouble trouble-stopped' : 'trouble'} role={stopped ? undefined : 'alert'}>
      {stopped ? <CircleSlash aria-hidden="true" /> : <TriangleAlert aria-hidden="true" />}
      <div>
        <p>{words}</p>
        {detail && <p className="detail">{detail}</p>}
      </div>
      <div className="trouble-acts">
        {!stopped && <Button look="quiet" onClick={() => setLog(true)}>Log</Button>}
        <Button icon={RefreshCw} onClick={() => void retry()}>Try again</Button>
      </div>
      {log && run && <LogDialog run={run} onClose={() => setLog(false)} />}
    </section>
  );
}

/** How long it took and what it used; the steps and the log behind it. */
export function RunFoot({ run }: { run: Run }) {
  const [open, setOpen] = useState(false);
  // The line of the steps says it already.
  const time = useStepCount(run) > 0 ? '' : duration(run.started_at, run.finished_at);
  const usage = run.usage ?? {};
  const tokens = ['input_tokens', 'output_tokens'].map((name) => usage[name]).filter((count) => typeof count === 'number');
  if (!run.finished_at) return null;
  return (
    <>
      <button type="button" className="run-foot" onClick={() => setOpen(true)} title="Details of this run">
        {[time, tokens.length > 0 && `${tokens.join(' → ')} tokens`].filter(Boolean).join(' · ') || 'Details'}
      </button>
      {open && <RunDialog run={run} onClose={() => setOpen(false)} />}
    </>
  );
}

function RunDialog({ run, onClose }: { run: Run; onClose: () => void }) {
  const { data: attempts = [] } = useAttempts(run);
  const facts: [string, string][] = [
    ['Worker', run.worker_id],
    ['Asked', moment(run.created_at)],
    ['Waited', duration(run.created_at, run.started_at)],
    ['Took', duration(run.started_at, run.finished_at)],
    ...(run.attempt > 1 ? ([['Attempts', String(run.attempt)]] as [string, string][]) : []),
    ...Object.entries(run.usage ?? {}).map(([name, value]): [string, string] => [name.replaceAll('_', ' '), String(value)]),
  ];
  return (
    <Dialog title="This run" onClose={onClose} wide>
      <dl className="facts">
        {facts.filter(([, value]) => value).map(([name, value]) => (
          <div key={name}><dt>{name}</dt><dd>{value}</dd></div>
        ))}
      </dl>
      {attempts.filter(({ steps }) => steps.length > 0).map(({ attempt, steps }) => (
        <section key={attempt}>
          <h3>Steps{attempts.length > 1 ? ` of attempt ${attempt}` : ''}</h3>
          <Timeline steps={steps} until={attempt === run.attempt ? run.finished_at : null} />
        </section>
      ))}
      <h3>Configuration</h3>
      <pre className="console" tabIndex={0}>{JSON.stringify(run.config, null, 2)}</pre>
      <Log run={run} />
    </Dialog>
  );
}

function LogDialog({ run, onClose }: { run: Run; onClose: () => void }) {
  return (
    <Dialog title="Log of the worker" onClose={onClose} wide>
      <Log run={run} />
    </Dialog>
  );
}

function Log({ run }: { run: Run }) {
  const { data: logs, isPending } = useQuery({ queryKey: ['log', run.id, run.status], queryFn: () => api.log(run.id) });
  if (isPending) return <p className="quiet">Reading …</p>;
  const written = (logs ?? []).filter((log) => log.text);
  if (!written.length) return <p className="quiet">The worker wrote nothing to its log.</p>;
  return written.map((log) => (
    <section key={log.attempt}>
      <h3>Log{written.length > 1 ? ` of attempt ${log.attempt}` : ''}</h3>
      <pre className="console" tabIndex={0}>{log.truncated ? `… (its beginning was dropped)\n${log.text}` : log.text}</pre>
    </section>
  ));
}
