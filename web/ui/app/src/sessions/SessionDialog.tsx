import { Problem } from '@branchline/client/api/request';
import { ACTIVE_STATUSES, type Limit, type Limits, type Session } from '@branchline/client/api/types';
import { changeSession, createSession } from '@branchline/client/thread/sessionActions';
import { threadStore } from '@branchline/client/thread/store';
import { useId, useState } from 'react';
import { focusComposer } from '../composer/focus';
import { useThread } from '../stores/thread';
import { Button } from '../ui/Button';
import { Dialog } from '../ui/Dialog';
import { Field } from '../ui/Field';
import { notifyError } from '../ui/notifications';
import { configsOf } from '../workers/configs';
import { useChosenWorkers } from '../workers/useChosenWorkers';

const LIMITS: readonly { name: Limit; label: string; hint?: string }[] = [
  { name: 'turns', label: 'Turns', hint: 'Since your last message.' },
  { name: 'seconds', label: 'Seconds', hint: 'In which a turn runs.' },
  { name: 'tokens', label: 'Tokens' },
  { name: 'cost', label: 'Cost' },
];

type Texts = Record<Limit, string>;

/** Whether a session goes on by itself, with what prompt, and how far; without a session, how to begin one. */
export function SessionDialog({ threadId, session, onClose }: { threadId: string; session: Session | null; onClose: () => void }) {
  const head = useThread((state) => state.head);
  const [worker] = useChosenWorkers(threadId, head);
  const [enabled, setEnabled] = useState(session?.auto.enabled ?? true);
  const [prompt, setPrompt] = useState(session?.auto.prompt ?? '');
  const [limits, setLimits] = useState<Texts>(() => textsOf(session?.limits));
  const [refused, setRefused] = useState<ReadonlyMap<string, string>>(new Map());
  const [busy, setBusy] = useState(false);
  const id = useId();
  const submit = async () => {
    if (busy) return;
    const wrong = problemsOf(limits);
    setRefused(wrong);
    if (wrong.size) return;
    setBusy(true);
    const auto = { enabled, prompt: prompt.trim() || null };
    try {
      if (session) await changeSession(threadId, { auto, limits: numbersOf(limits) });
      else await createSession(threadId, { auto, limits: given(numbersOf(limits)), ...begun(threadId, head, worker) });
      onClose();
      if (!session) setTimeout(focusComposer);
    } catch (error) {
      setBusy(false);
      if (error instanceof Problem && error.fields.length) setRefused(new Map(error.fields.map(({ path, message }) => [path, message])));
      else notifyError(error);
    }
  };
  const promptProblem = refused.get('auto.prompt');
  return (
    <Dialog
      title={session ? 'Limits and prompt' : 'Let it go on by itself'}
      onClose={onClose}
      onSubmit={() => void submit()}
      footer={
        <>
          <span className="grow" />
          <Button onClick={onClose}>Cancel</Button>
          <Button look="main" type="submit" disabled={busy}>{session ? 'Save' : 'Begin session'}</Button>
        </>
      }
    >
      <div className="stack">
        {!session && (
          <p className="lead">
            Your next message begins the first turn. Turn follows turn until the goal is reached, a limit is, the worker has a question, or you step in.
          </p>
        )}
        <label className="check-line">
          <input type="checkbox" checked={enabled} onChange={(event) => setEnabled(event.target.checked)} />
          Go on by itself after each turn
        </label>
        <div className="field">
          <label htmlFor={id}>Prompt</label>
          <textarea
            id={id}
            className="input"
            dir="auto"
            rows={2}
            maxLength={10_000}
            value={prompt}
            disabled={!enabled}
            aria-invalid={!!promptProblem}
            aria-describedby={`${id}-hint`}
            onChange={(event) => setPrompt(event.target.value)}
          />
          <p id={`${id}-hint`} className={promptProblem ? 'field-error' : 'field-hint'}>{promptProblem ?? 'What each following turn is asked. Leave empty for the default.'}</p>
        </div>
        <fieldset className="session-limits">
          <legend>Stop after</legend>
          {LIMITS.map(({ name, label, hint }) => (
            <Field
              key={name}
              label={label}
              hint={hint}
              error={refused.get(`limits.max_${name}`)}
              inputMode="decimal"
              autoComplete="off"
              placeholder={!session && name === 'turns' ? 'Default' : 'No limit'}
              value={limits[name]}
              onChange={(event) => {
                setLimits({ ...limits, [name]: event.target.value });
                setRefused(new Map());
              }}
            />
          ))}
        </fieldset>
      </div>
    </Dialog>
  );
}

function textsOf(limits: Limits | undefined): Texts {
  return Object.fromEntries(LIMITS.map(({ name }) => [name, String(limits?.[`max_${name}`] ?? '')])) as Texts;
}

/** What of the limits cannot be right, by the path in the request. */
function problemsOf(texts: Texts): Map<string, string> {
  const wrong = LIMITS.filter(({ name }) => texts[name].trim() && !(Number(texts[name]) > 0 && Number.isFinite(Number(texts[name]))));
  return new Map(wrong.map(({ name }) => [`limits.max_${name}`, 'must be a number above 0']));
}

/** The limits as the server takes them. */
function numbersOf(texts: Texts): Limits {
  return Object.fromEntries(LIMITS.map(({ name }) => [`max_${name}`, texts[name].trim() ? Number(texts[name]) : null])) as Limits;
}

/** Only what is set: the server has a default for the others. */
function given(limits: Limits): Partial<Limits> {
  return Object.fromEntries(Object.entries(limits).filter(([, limit]) => limit !== null));
}

/** Where a new session goes on, and who answers: the branch and the worker that are shown. */
function begun(threadId: string, head: string | null, worker: string | undefined) {
  const { nodes, thread } = threadStore.getState().data;
  const status = head ? nodes.get(head)?.runStatus : null;
  return {
    ...(head && !(status && ACTIVE_STATUSES.has(status)) && { state_id: head }),
    ...(worker && worker !== thread?.worker_id && { worker_id: worker, config: configsOf(threadId, [worker])[worker] ?? {} }),
  };
}
