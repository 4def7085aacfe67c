import type { Config, FieldProblem, Worker } from '@branchline/client/api/types';
import { useState } from 'react';
import { prefer, usePreferences } from '../stores/preferences';
import { Button } from '../ui/Button';
import { Dialog } from '../ui/Dialog';
import { ConfigForm } from './ConfigForm';
import { check, completed } from './schema';

/** How the chosen workers are configured. */
export function ConfigDialog({ workers, problems, onClose }: { workers: Worker[]; problems: readonly FieldProblem[]; onClose: () => void }) {
  const kept = usePreferences((state) => state.configs);
  const [configs, setConfigs] = useState<Record<string, Config>>(kept);
  const [at, setAt] = useState(workers[0]?.id ?? '');
  const [checked, setChecked] = useState(false);
  const [backs, setBacks] = useState(0);
  const worker = workers.find(({ id }) => id === at);
  if (!worker) return null;
  const config = configs[at] ?? {};
  const said = [
    ...(config === kept[at] || !kept[at] ? problems.filter(({ path }) => path.startsWith('config')) : []).map(
      ({ path, message }) => [path.replace(/^config\.?/, ''), message] as const,
    ),
    ...(checked ? check(worker.config_schema, config) : []),
  ];
  const back = () => {
    setConfigs({ ...configs, [at]: {} });
    setBacks(backs + 1);
  };
  const save = () => {
    const wrong = workers.find(({ id, config_schema }) => check(config_schema, configs[id] ?? {}).length > 0);
    if (wrong) {
      setAt(wrong.id);
      setChecked(true);
      return;
    }
    const whole = workers.map(({ id, config_schema }) => [id, completed(config_schema, configs[id] ?? {}) as Config]);
    prefer({ configs: { ...configs, ...Object.fromEntries(whole) } });
    onClose();
  };
  return (
    <Dialog
      title={workers.length > 1 ? 'Configure the workers' : `Configure ${worker.name}`}
      onClose={onClose}
      footer={
        <>
          <Button look="quiet" onClick={back}>Back to the defaults</Button>
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
        key={`${at} ${backs}`}
        schema={worker.config_schema}
        value={config}
        errors={new Map(said)}
        onChange={(next) => setConfigs({ ...configs, [at]: next as Config })}
      />
    </Dialog>
  );
}
