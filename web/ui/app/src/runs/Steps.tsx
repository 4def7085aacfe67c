import { api } from '@branchline/client/api/calls';
import { ACTIVE_STATUSES, type Run } from '@branchline/client/api/types';
import type { Step } from '@branchline/client/thread/state';
import { stepCount } from '@branchline/client/thread/updates';
import { useQuery } from '@tanstack/react-query';
import { ListTree } from 'lucide-react';
import { useState } from 'react';
import { useThread } from '../stores/thread';
import { Fold } from '../ui/Fold';
import { duration } from '../ui/time';

const NONE: readonly Step[] = [];

export function useStepCount(run: Run | undefined): number {
  return useThread(({ data }) => (run ? stepCount(data, run) : 0));
}

/** What a run does, or did: a line that unfolds to a timeline. */
export function Steps({ run }: { run: Run }) {
  const count = useStepCount(run);
  const heard = useThread((state) => state.data.steps.get(run.id)) ?? NONE;
  const [open, setOpen] = useState(false);
  const ended = !ACTIVE_STATUSES.has(run.status);
  const { data: attempts } = useAttempts(run, open && ended);
  if (!count) return null;
  const kept = attempts?.find(({ attempt }) => attempt === run.attempt)?.steps;
  const steps = ended && kept ? kept : heard.filter((step) => step.attempt === run.attempt);
  const number = Math.max(count, steps.length);
  const many = `${number} ${number === 1 ? 'step' : 'steps'}`;
  return (
    <Fold
      icon={ListTree}
      quiet
      title={ended ? many : (steps.at(-1)?.description ?? 'Working')}
      aside={ended ? duration(run.started_at, run.finished_at) : many}
      working={run.status === 'running'}
      onToggle={setOpen}
    >
      {open && <Timeline steps={steps} until={run.finished_at} />}
    </Fold>
  );
}

/** Each step, and how long it took. */
export function Timeline({ steps, until }: { steps: readonly Pick<Step, 'description' | 'at'>[]; until: string | null }) {
  return (
    <ol className="steps">
      {steps.map(({ description, at }, index) => (
        <li key={index}>
          <span>{description}</span>
          <time>{duration(at, steps[index + 1]?.at ?? until)}</time>
        </li>
      ))}
    </ol>
  );
}

export function useAttempts(run: Run, wanted = true) {
  return useQuery({ queryKey: ['attempts', run.id, run.attempt, run.status], queryFn: () => api.runAttempts(run.id), enabled: wanted });
}
