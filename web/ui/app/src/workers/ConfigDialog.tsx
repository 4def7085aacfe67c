import type { Config, FieldProblem, Worker } from '@branchline/client/api/types';
import { useState } from 'react';
import { setPreferences, usePreferences } from '../stores/preferences';
import { Button } from '../ui/Button';
import { Dialog } from '../ui/Dialog';
import { ConfigForm } from './ConfigForm';
import { check, withFixedValues } from './schema';

/** The configuration of the chosen workers. */
export function ConfigDialog({ workers, problems, onClose }: { workers: Worker[]; problems: readonly FieldProblem[]; onClose: () => void }) {
  const stored = usePreferences((state) => state.configs);
  const [configs, setConfigs] = useState<Record<string, Config>>(stored);
  const [at, setAt] = useState(workers[0]?.id ?? '');
  const [checked, setChecked] = useState(false);
  const [resets, setResets] = useState(0);
  const worker = workers.find(({ id }) => id === at);
  if (!worker) return null;
  const config = configs[at] ?? {};
  const errors = [
    ...(config === stored[at] || !stored[at] ? problems.filter(({ path }) => path.startsWith('config')) : []).map(
      ({ path, message }) => [path.replace(/^config\.?/, ''), message] as const,
    ),
    ...(checked ? check(worker.config_schema, config) : []),
  ];
  const reset = () => {
    setConfigs({ ...configs, [at]: {} });
    setResets(resets + 1);
  };
  const save = () => {
    const invalid = workers.find(({ id, config_schema }) => check(config_schema, configs[id] ?? {}).length > 0);
    if (invalid) {
      setAt(invalid.id);
      setChecked(true);
      return;
    }
    const complete = workers.map(({ id, config_schema }) => [id, withFixedValues(config_schema, configs[id] ?? {}) as Config]);
    setPreferences({ configs: { ...configs, ...Object.fromEntries(complete) } });
    onClose();
  };
  return (
    <Dialog
      title={workers.length > 1 ? 'Configure workers' : `Configure ${worker.name}`}
      onClose={onClose}
      footer={
        <>
          <Button look="quiet" onClick={reset}>Reset to defaults</Button>
          <span className="grow" />
          <Button onClick={onClose}>Cancel</Button>
          <Button look="main" onClick={save}>Save</Button>
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
      <ConfigForm
        key={`${at} ${resets}`}
        schema={worker.config_schema}
        value={config}
        errors={new Map(errors)}
        onChange={(next) => setConfigs({ ...configs, [at]: next as Config })}
      />
    </Dialog>
  );
}
