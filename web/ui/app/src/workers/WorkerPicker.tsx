import type { Config, FieldProblem, Worker } from '@branchline/client/api/types';
import * as Popover from '@radix-ui/react-popover';
import { Check, ChevronDown, Minus, Plus, SlidersHorizontal } from 'lucide-react';
import { useEffect, useState } from 'react';
import { setPreferences, usePreferences } from '../stores/preferences';
import { useWorkers } from '../stores/workers';
import { Hint, IconButton } from '../ui/Button';
import { ConfigDialog } from './ConfigDialog';
import { useConfigs } from './configs';
import { differences } from './schema';

const MAX_ANSWERS = 16;

/** Which workers are asked, for how many answers each, and with which configuration. */
export function WorkerPicker({ threadId, chosen, n, onN, problems }: {
  threadId: string | null;
  chosen: string[];
  n: number;
  onN: (n: number) => void;
  problems: readonly FieldProblem[];
}) {
  const { data: workers = [], isPending } = useWorkers();
  const [several, setSeveral] = useState(chosen.length > 1);
  const [configuring, setConfiguring] = useState(false);
  const [open, setOpen] = useState(false);
  const isRefused = problems.some(({ path }) => path.startsWith('config'));
  // Show what the server refused next to the field that it is about.
  useEffect(() => setConfiguring(isRefused), [problems, isRefused]);
  const first = workers.find((worker) => worker.id === chosen[0]);
  const name = isPending ? 'Workers' : chosen.length > 1 ? `${chosen.length} workers` : (first?.name ?? 'No worker');

  const asked = workers.filter((worker) => chosen.includes(worker.id));
  const configs = useConfigs(threadId, chosen);

  const choose = (ids: string[]) => {
    if (!ids.length) return;
    setPreferences(threadId ? { workersOf: { ...usePreferences.getState().workersOf, [threadId]: ids } } : { workers: ids });
  };
  const pick = (worker: Worker) => {
    if (!several) {
      choose([worker.id]);
      setOpen(false);
    } else choose(chosen.includes(worker.id) ? chosen.filter((id) => id !== worker.id) : [...chosen, worker.id]);
  };

  return (
    <>
      <Popover.Root open={open} onOpenChange={setOpen}>
        <Popover.Trigger asChild>
          <button type="button" className="tool" aria-label={`Worker: ${name}`}>
            <span>{name}</span><ChevronDown aria-hidden="true" />
          </button>
        </Popover.Trigger>
        <Popover.Portal>
          <Popover.Content className="popover worker-picker" align="start" side="top" sideOffset={8} collisionPadding={12} aria-label="Workers">
            <ul aria-label="Workers">
              {byAvailability(workers).map((worker) => (
                <li key={worker.id}>
                  <button
                    type="button"
                    aria-pressed={chosen.includes(worker.id)}
                    aria-disabled={!worker.available}
                    onClick={() => worker.available && pick(worker)}
                  >
                    <Check aria-hidden="true" className="tick" />
                    <span>
                      <strong>{worker.name}</strong>
                      <small>{worker.description}</small>
                      {!worker.available && <small className="reason">Unavailable: {worker.reason ?? 'it cannot run right now'}</small>}
                      {worker.rejected && <small className="reason">Its last change is not in use: {worker.rejected}</small>}
                    </span>
                  </button>
                </li>
              ))}
            </ul>
            <div className="worker-picker-footer">
              <label className="check-line">
                <input
                  type="checkbox"
                  checked={several}
                  onChange={(event) => {
                    setSeveral(event.target.checked);
                    if (!event.target.checked) choose(chosen.slice(0, 1));
                  }}
                />
                Ask several workers
              </label>
              <div className="stepper" role="group" aria-label="Answers per worker">
                <IconButton label="Fewer answers" icon={Minus} disabled={n <= 1} onClick={() => onN(n - 1)} />
                <output aria-label="Number of answers">{n}</output>
                <IconButton label="More answers" icon={Plus} disabled={n >= MAX_ANSWERS} onClick={() => onN(n + 1)} />
                <span>{n === 1 ? 'answer' : 'answers'} each</span>
              </div>
            </div>
          </Popover.Content>
        </Popover.Portal>
      </Popover.Root>
      {n > 1 && <button type="button" className="tool tool-on" aria-label={`${n} answers each, reset to one`} onClick={() => onN(1)}>×{n}</button>}
      {first && <ConfigButton workers={asked} configs={configs} isRefused={isRefused} onClick={() => setConfiguring(true)} />}
      {configuring && (
        <ConfigDialog
          threadId={threadId}
          workers={asked}
          stored={configs}
          problems={problems}
          onClose={() => setConfiguring(false)}
        />
      )}
    </>
  );
}

/** Those that can be asked first, each part in its order. */
function byAvailability(workers: readonly Worker[]): Worker[] {
  return [...workers].sort((a, b) => Number(b.available) - Number(a.available));
}

/** Opens the configuration, and says what in it differs from the defaults. */
function ConfigButton({ workers, configs, isRefused, onClick }: {
  workers: Worker[];
  configs: Record<string, Config>;
  isRefused: boolean;
  onClick: () => void;
}) {
  const changed = workers.flatMap(({ id, name, config_schema }) => {
    const differs = differences(config_schema, configs[id] ?? {});
    return differs.length && workers.length > 1 ? [`${name}: ${differs.join(', ')}`] : differs;
  });
  const text = changed.join(' · ');
  return (
    <Hint text={text ? `Configure (${text})` : 'Configure'}>
      <button type="button" className={`tool tool-config${isRefused ? ' tool-invalid' : ''}`} aria-label={text ? `Configure, ${text}` : 'Configure'} onClick={onClick}>
        <SlidersHorizontal aria-hidden="true" />
        {text && <span>{text}</span>}
      </button>
    </Hint>
  );
}
