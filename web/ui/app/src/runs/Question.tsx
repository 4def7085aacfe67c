import { Problem } from '@branchline/client/api/request';
import type { Confirmation, Run } from '@branchline/client/api/types';
import { answerRun, cancelRun } from '@branchline/client/thread/actions';
import { Square } from 'lucide-react';
import { type FormEvent, useState } from 'react';
import { useKeptText } from '../stores/keptText';
import { Button } from '../ui/Button';
import { notifyError } from '../ui/notifications';
import { ConfigForm } from '../workers/ConfigForm';
import { check, withFixedValues } from '../workers/schema';

/** What a waiting run asks its user. */
export function Question({ run }: { run: Run }) {
  const confirmation = run.confirmation as Confirmation | null;
  const [busy, setBusy] = useState(false);
  if (!confirmation) return null;
  const options = Array.isArray(confirmation.options) ? confirmation.options : [];
  const submit = async (answer: unknown) => {
    setBusy(true);
    try {
      await answerRun(run, answer);
    } catch (error) {
      setBusy(false);
      throw error;
    }
  };
  const fields = { name: `answer.${confirmation.id}`, busy, submit };
  return (
    <section className="question" aria-label="Input needed" role="group">
      <p dir="auto">{confirmation.prompt}</p>
      {confirmation.schema && <AnswerForm key={fields.name} schema={confirmation.schema} {...fields} />}
      <div className="options">
        {!confirmation.schema && options.map((option) => {
          const name = typeof option === 'string' ? option : String((option as { label?: string })?.label ?? JSON.stringify(option));
          return <Button key={name} dir="auto" disabled={busy} onClick={() => void submit(option).catch(notifyError)}>{name}</Button>;
        })}
        {!confirmation.schema && options.length === 0 && <AnswerField key={fields.name} {...fields} />}
        <Button look="quiet" icon={Square} disabled={busy} onClick={() => void cancelRun(run).catch(notifyError)}>Stop</Button>
      </div>
    </section>
  );
}

interface Fields {
  /** Under which the browser keeps what was not sent yet. */
  name: string;
  busy: boolean;
  submit: (answer: unknown) => Promise<void>;
}

function AnswerField({ name, busy, submit }: Fields) {
  const [text, setText] = useKeptText(name);
  const onSubmit = (event: FormEvent) => {
    event.preventDefault();
    if (text.trim()) void submit(text).then(() => setText(''), notifyError);
  };
  return (
    <form onSubmit={onSubmit}>
      <input className="input" aria-label="Your answer" dir="auto" value={text} onChange={(event) => setText(event.target.value)} />
      <Button look="main" type="submit" disabled={busy || !text.trim()}>Answer</Button>
    </form>
  );
}

/** The form of a question whose answer a JSON Schema describes. */
function AnswerForm({ schema, name, busy, submit }: Fields & { schema: Record<string, unknown> }) {
  const [kept, setKept] = useKeptText(name);
  const [errors, setErrors] = useState<ReadonlyMap<string, string>>(new Map());
  const value = parsed(kept);
  const onSubmit = (event: FormEvent) => {
    event.preventDefault();
    const wrong = check(schema, value);
    setErrors(new Map(wrong));
    if (wrong.length) return;
    void submit(withFixedValues(schema, value)).then(
      () => setKept(''),
      (error: unknown) => {
        if (error instanceof Problem && error.fields.length) setErrors(new Map(error.fields.map(({ path, message }) => [path.replace(/^answer\.?/, ''), message])));
        else notifyError(error);
      },
    );
  };
  return (
    <form className="answer-form" noValidate onSubmit={onSubmit}>
      <ConfigForm
        schema={schema}
        value={value}
        errors={errors}
        onChange={(next) => {
          setKept(JSON.stringify(next));
          setErrors(new Map());
        }}
      />
      <Button look="main" type="submit" disabled={busy}>Answer</Button>
    </form>
  );
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}
