import { api } from '@branchline/client/api/calls';
import { ACTIVE_STATUSES, type Run } from '@branchline/client/api/types';
import type { Step } from '@branchline/client/thread/state';
import { stepCount } from '@branchline/client/thread/updates';
import { useQuery } from '@tanstack/react-query';
import { ListTree } from 'lucide-react';
import { useState } from 'react';
import { useThread } from '../stores/thread';
import { Collapsible } from '../ui/Collapsible';
import { formatDuration } from '../ui/time';

const NONE: readonly Step[] = [];

export function useStepCount(run: Run | undefined): number {
  return useThread(({ data }) => (run ? stepCount(data, run) : 0));
}

/** What a run is doing: a line that expands to a timeline. */
export function Steps({ run }: { run: Run }) {
  const count = useStepCount(run);
  const received = useThread((state) => state.data.steps.get(run.id)) ?? NONE;
  const [open, setOpen] = useState(false);
  const ended = !ACTIVE_STATUSES.has(run.status);
  const { data: attempts } = useAttempts(run, open && ended);
  if (!count) return null;
  const stored = attempts?.find(({ attempt }) => attempt === run.attempt)?.steps;
  const steps = ended && stored ? stored : received.filter((step) => step.attempt === run.attempt);
  const number = Math.max(count, steps.length);
  const countText = `${number} ${number === 1 ? 'step' : 'steps'}`;
  return (
    <Collapsible
      icon={ListTree}
      quiet
      title={ended ? countText : (steps.at(-1)?.description ?? 'Working')}
      aside={ended ? formatDuration(run.started_at, run.finished_at) : countText}
      working={run.status === 'running'}
      onToggle={setOpen}
    >
      {open && <Timeline steps={steps} until={run.finished_at} />}
    </Collapsible>
  );
}

/** Each step and how long it took. */
export function Timeline({ steps, until }: { steps: readonly Pick<Step, 'description' | 'at'>[]; until: string | null }) {
  return (
    <ol className="steps">
      {steps.map(({ description, at }, index) => (
        <li key={index}>
          <span dir="auto">{description}</span>
          <time>{formatDuration(at, steps[index + 1]?.at ?? until)}</time>
        </li>
      ))}
    </ol>
  );
}

export function useAttempts(run: Run, enabled = true) {
  return useQuery({ queryKey: ['attempts', run.id, run.attempt, run.status], queryFn: () => api.runAttempts(run.id), enabled });
}
