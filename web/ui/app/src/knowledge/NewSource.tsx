import { api } from '@branchline/client/api/calls';
import { errorMessage, Problem } from '@branchline/client/api/request';
import type { NewKnowledgeSource } from '@branchline/client/api/types';
import { useId, useState } from 'react';
import { knowledgePath, navigate } from '../navigation/routes';
import { knowledgeChanged } from '../stores/knowledge';
import { Button } from '../ui/Button';
import { Dialog } from '../ui/Dialog';
import { Field } from '../ui/Field';
import { LANGUAGES } from './words';

/** Makes a source, and goes to it. */
export function NewSource({ onClose }: { onClose: () => void }) {
  const [name, setName] = useState('');
  const [language, setLanguage] = useState('english');
  const [project, setProject] = useState('');
  const [problem, setProblem] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  const select = useId();
  const create = async () => {
    if (busy) return;
    setBusy(true);
    try {
      const wish = { name: name.trim(), language, ...(project.trim() ? { project_id: project.trim() } : {}) };
      const { id } = await api.createKnowledgeSource(wish as NewKnowledgeSource);
      void knowledgeChanged();
      onClose();
      navigate(knowledgePath({ source: id }));
    } catch (error) {
      setProblem(error);
      setBusy(false);
    }
  };
  const fields = problem instanceof Problem ? problem.fields : [];
  const errorOf = (path: string) => fields.find((field) => field.path === path)?.message;
  return (
    <Dialog
      title="New source"
      onClose={onClose}
      onSubmit={() => void create()}
      footer={
        <>
          <span className="grow" />
          <Button onClick={onClose}>Cancel</Button>
          <Button look="main" type="submit" disabled={busy || !name.trim()}>Create</Button>
        </>
      }
    >
      <div className="stack">
        {problem !== null && !fields.length && <p className="alert" role="alert">{errorMessage(problem)}</p>}
        <Field label="Name" dir="auto" value={name} maxLength={200} placeholder="Manuals" error={errorOf('name')} onChange={(event) => setName(event.target.value)} />
        <div className="field">
          <label htmlFor={select}>Language of its documents</label>
          <select id={select} className="input" value={language} aria-describedby={`${select}-hint`} onChange={(event) => setLanguage(event.target.value)}>
            {LANGUAGES.map((one) => <option key={one.value} value={one.value}>{one.name}</option>)}
          </select>
          <p id={`${select}-hint`} className="field-hint">Words are found with the other endings that they have in it</p>
        </div>
        <Field
          label="Project"
          dir="auto"
          hint="Optional. A label: agent chats of other projects do not see the source"
          value={project}
          maxLength={200}
          error={errorOf('project_id')}
          onChange={(event) => setProject(event.target.value)}
        />
      </div>
    </Dialog>
  );
}
