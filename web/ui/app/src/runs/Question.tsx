import type { Confirmation, Run } from '@branchline/client/api/types';
import { answerRun, cancelRun } from '@branchline/client/thread/actions';
import { Square } from 'lucide-react';
import { type FormEvent, useState } from 'react';
import { Button } from '../ui/Button';
import { complain } from '../ui/notes';

/** What a waiting run asks its user. */
export function Question({ run }: { run: Run }) {
  const asked = run.confirmation as Confirmation | null;
  const [text, setText] = useState('');
  const [busy, setBusy] = useState(false);
  if (!asked) return null;
  const options = Array.isArray(asked.options) ? asked.options : [];
  const give = (given: unknown) => {
    setBusy(true);
    answerRun(run, given).catch((error: unknown) => {
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
        <Button look="quiet" icon={Square} disabled={busy} onClick={() => void cancelRun(run).catch(complain)}>Stop</Button>
      </div>
    </section>
  );
}
