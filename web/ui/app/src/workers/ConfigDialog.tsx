import { Problem } from '@branchline/client/api/request';
import type { Config, FieldProblem, Worker } from '@branchline/client/api/types';
import { saveConfigs } from '@branchline/client/thread/actions';
import { useEffect, useRef, useState } from 'react';
import { setPreferences, usePreferences } from '../stores/preferences';
import { useThread } from '../stores/thread';
import { Button } from '../ui/Button';
import { ConfirmDialog } from '../ui/ConfirmDialog';
import { Dialog } from '../ui/Dialog';
import { notifyError } from '../ui/notifications';
import { ConfigForm } from './ConfigForm';
import { check, withFixedValues } from './schema';

/** The configuration of the chosen workers, in a thread or for new threads. */
export function ConfigDialog({ threadId, workers, stored, problems, onClose }: {
  /** The thread that is configured; null for new threads. */
  threadId: string | null;
  workers: Worker[];
  stored: Record<string, Config>;
  /** What the server refused when these workers were asked. */
  problems: readonly FieldProblem[];
  onClose: () => void;
}) {
  const thread = useThread((state) => (threadId ? state.data.thread : null));
  const [configs, setConfigs] = useState<Record<string, Config>>(stored);
  const [at, setAt] = useState(workers[0]?.id ?? '');
  /** What the server refused, until it is changed. */
  const [refused, setRefused] = useState({ fields: problems, configs: stored });
  const [checked, setChecked] = useState(false);
  const [resets, setResets] = useState(0);
  const [forNew, setForNew] = useState(false);
  const [leaving, setLeaving] = useState(false);
  /** How often something was not saved because of errors. */
  const [refusals, setRefusals] = useState(problems.length ? 1 : 0);
  const form = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (refusals) showFirstError(form.current);
  }, [refusals]);
  const worker = workers.find(({ id }) => id === at);
  if (!worker) return null;
  const config = configs[at] ?? {};
  const errors = [
    ...(config === refused.configs[at] ? refused.fields.filter(({ path }) => path.startsWith('config')) : []).map(
      ({ path, message }) => [path.replace(/^config\.?/, ''), message] as const,
    ),
    ...(checked ? check(worker.config_schema, config) : []),
  ];
  const reset = () => {
    setConfigs({ ...configs, [at]: {} });
    setResets(resets + 1);
  };
  const begin = (preset: Config) => {
    setConfigs({ ...configs, [at]: preset });
    setResets(resets + 1);
  };
  const save = async () => {
    const invalid = workers.find(({ id, config_schema }) => check(config_schema, configs[id] ?? {}).length > 0);
    if (invalid) {
      setAt(invalid.id);
      setChecked(true);
      setRefusals(refusals + 1);
      return;
    }
    const complete = Object.fromEntries(workers.map(({ id, config_schema }) => [id, withFixedValues(config_schema, configs[id] ?? {}) as Config]));
    try {
      if (thread) await saveConfigs(thread, complete);
      if (!thread || forNew) setPreferences({ configs: { ...usePreferences.getState().configs, ...complete } });
      onClose();
    } catch (error) {
      if (error instanceof Problem && error.fields.length) {
        setRefused({ fields: error.fields, configs });
        setRefusals(refusals + 1);
      }
      else notifyError(error);
    }
  };
  const isChanged = JSON.stringify(configs) !== JSON.stringify(stored);
  const leave = () => (isChanged ? setLeaving(true) : onClose());
  return (
    <Dialog
      title={workers.length > 1 ? 'Configure workers' : `Configure ${worker.name}`}
      onClose={leave}
      onSubmit={() => void save()}
      footer={
        <>
          <Button look="quiet" onClick={reset}>Reset to defaults</Button>
          <span className="grow" />
          <Button onClick={leave}>Cancel</Button>
          <Button look="main" type="submit">Save</Button>
        </>
      }
    >
      {workers.length > 1 && (
        <div className="tabs" role="tablist" aria-label="Workers">
          {workers.map(({ id, name }) => (
            <button key={id} type="button" role="tab" aria-selected={id === at} onClick={() => setAt(id)}>{name}</button>
          ))}
        </div>
      )}
      <p className="lead">{worker.description}</p>
      {worker.presets.length > 0 && (
        <div className="presets" role="group" aria-label="Presets">
          <span aria-hidden="true">Begin with</span>
          {worker.presets.map((preset) => (
            <Button key={preset.name} aria-pressed={JSON.stringify(preset.config) === JSON.stringify(config)} onClick={() => begin(preset.config as Config)}>
              {preset.name}
            </Button>
          ))}
        </div>
      )}
      <div ref={form}>
        <ConfigForm
          key={`${at} ${resets}`}
          schema={worker.config_schema}
          value={config}
          errors={new Map(errors)}
          choices={worker.choices}
          onChange={(next) => setConfigs({ ...configs, [at]: next as Config })}
        />
      </div>
      {thread && (
        <label className="check-line for-new">
          <input type="checkbox" checked={forNew} onChange={(event) => setForNew(event.target.checked)} />
          Use for new threads as well
        </label>
      )}
      {leaving && (
        <ConfirmDialog title="Discard your changes?" action="Discard" onClose={() => setLeaving(false)} onConfirm={onClose}>
          What you have changed in this form is not saved.
        </ConfirmDialog>
      )}
    </Dialog>
  );
}

/** Scroll to the first field with an error, and put the cursor there. */
function showFirstError(form: HTMLElement | null): void {
  const first = form?.querySelector<HTMLElement>('[aria-invalid="true"], .field-error');
  first?.scrollIntoView({ block: 'center' });
  first?.focus({ preventScroll: true });
}
