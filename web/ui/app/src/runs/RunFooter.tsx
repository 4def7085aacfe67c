import type { Run } from '@branchline/client/api/types';
import { useState } from 'react';
import { useWorkerName } from '../stores/workers';
import { Dialog } from '../ui/Dialog';
import { formatDuration, formatTime } from '../ui/time';
import { RunLog } from './RunLog';
import { Timeline, useAttempts, useStepCount } from './Steps';

/** How long a run took and what it used. A press shows its steps, its configuration and its log. */
export function RunFooter({ run }: { run: Run }) {
  const [open, setOpen] = useState(false);
  // If the run reported steps, their line shows the duration.
  const time = useStepCount(run) > 0 ? '' : formatDuration(run.started_at, run.finished_at);
  const usage = run.usage ?? {};
  const tokens = ['input_tokens', 'output_tokens'].map((name) => usage[name]).filter((count) => typeof count === 'number');
  if (!run.finished_at) return null;
  return (
    <>
      <button type="button" className="run-footer" onClick={() => setOpen(true)} title="Run details">
        {[time, tokens.length > 0 && `${tokens.join(' → ')} tokens`].filter(Boolean).join(' · ') || 'Details'}
      </button>
      {open && <RunDialog run={run} onClose={() => setOpen(false)} />}
    </>
  );
}

/** How much of the conversation its worker was given, where that was not all of it. */
function messagesGiven({ given, left_out, summary, summed_up }: NonNullable<Run['window']>): string {
  const leftOut = `${left_out} earlier ${left_out === 1 ? 'one was' : 'ones were'} left out`;
  const summedUp = summed_up ? `a summary of the first ${summed_up} was given` : 'no summary was there yet';
  return [`${given} of ${given + left_out}`, leftOut, summary && summedUp].filter(Boolean).join('; ');
}

function RunDialog({ run, onClose }: { run: Run; onClose: () => void }) {
  const { data: attempts = [] } = useAttempts(run);
  const name = useWorkerName()(run.worker_id);
  const facts: [string, string][] = [
    ['Worker', name === run.worker_id ? name : `${name} (${run.worker_id})`],
    ['Created', formatTime(run.created_at)],
    ['Queued for', formatDuration(run.created_at, run.started_at)],
    ['Duration', formatDuration(run.started_at, run.finished_at)],
    ...(run.attempt > 1 ? ([['Attempts', String(run.attempt)]] as [string, string][]) : []),
    ...(run.window ? ([['Messages given', messagesGiven(run.window)]] as [string, string][]) : []),
    ...Object.entries(run.usage ?? {}).map(([name, value]): [string, string] => [name.replaceAll('_', ' '), String(value)]),
  ];
  return (
    <Dialog title="Run details" onClose={onClose} wide>
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
      <RunLog run={run} />
    </Dialog>
  );
}
