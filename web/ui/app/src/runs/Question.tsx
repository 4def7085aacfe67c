import type { Confirmation, Run } from '@branchline/client/api/types';
import { answerRun, cancelRun } from '@branchline/client/thread/actions';
import { Square } from 'lucide-react';
import { type FormEvent, useState } from 'react';
import { Button } from '../ui/Button';
import { notifyError } from '../ui/notifications';

/** What a waiting run asks its user. */
export function Question({ run }: { run: Run }) {
  const confirmation = run.confirmation as Confirmation | null;
  const [text, setText] = useState('');
  const [busy, setBusy] = useState(false);
  if (!confirmation) return null;
  const options = Array.isArray(confirmation.options) ? confirmation.options : [];
  const submitAnswer = (answer: unknown) => {
    setBusy(true);
    answerRun(run, answer).catch((error: unknown) => {
      setBusy(false);
      notifyError(error);
    });
  };
  const onSubmit = (event: FormEvent) => {
    event.preventDefault();
    if (text.trim()) submitAnswer(text);
  };
  return (
    <section className="question" aria-label="Input needed" role="group">
      <p>{confirmation.prompt}</p>
      <div className="options">
        {options.map((option) => {
          const name = typeof option === 'string' ? option : String((option as { label?: string })?.label ?? JSON.stringify(option));
          return <Button key={name} disabled={busy} onClick={() => submitAnswer(option)}>{name}</Button>;
        })}
        {options.length === 0 && (
          <form onSubmit={onSubmit}>
            <input className="input" aria-label="Your answer" value={text} onChange={(event) => setText(event.target.value)} />
            <Button look="main" type="submit" disabled={busy || !text.trim()}>Answer</Button>
          </form>
        )}
        <Button look="quiet" icon={Square} disabled={busy} onClick={() => void cancelRun(run).catch(notifyError)}>Stop</Button>
      </div>
    </section>
  );
}
