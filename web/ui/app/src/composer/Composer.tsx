import { STORAGE_PREFIX } from '@branchline/client/api/basePath';
import { errorMessage, Problem } from '@branchline/client/api/request';
import { ACTIVE_STATUSES, type FieldProblem, type Run } from '@branchline/client/api/types';
import { cancelRun, queueMessages } from '@branchline/client/thread/actions';
import { ArrowUp, Square } from 'lucide-react';
import { useCallback, useEffect, useLayoutEffect, useRef, useState } from 'react';
import { openBranch } from '../navigation/openBranch';
import { navigate, threadPath } from '../navigation/routes';
import { send } from '../runs/send';
import { setPreferences, usePreferences } from '../stores/preferences';
import { addQueued } from '../stores/queued';
import { useThread } from '../stores/thread';
import { useWorkers } from '../stores/workers';
import { isComposing } from '../ui/keys';
import { notifyError } from '../ui/notifications';
import { configsOf } from '../workers/configs';
import { useChosenWorkers } from '../workers/useChosenWorkers';
import { WorkerPicker } from '../workers/WorkerPicker';
import { focusWhenShown, hasTouchKeyboard, takesFocus } from './focus';
import { QueuedMessages } from './QueuedMessages';

const NO_FIELDS: readonly FieldProblem[] = [];

const draftKey = (threadId: string | null) => `${STORAGE_PREFIX}draft.${threadId ?? 'new'}`;

/** The field for a message. A draft is kept in the browser until the server has accepted it. */
export function Composer({ threadId, parent }: { threadId: string | null; parent: string | null }) {
  const [text, setText] = useDraft(threadId);
  const [n, setN] = useState(1);
  const [sending, setSending] = useState<AbortController | null>(null);
  const [waiting, setWaiting] = useState<Problem | null>(null);
  const [problem, setProblem] = useState<{ text: string; fields: readonly FieldProblem[] } | null>(null);
  const chosen = useChosenWorkers(threadId, parent);
  const run = useRunOf(parent);
  const activeRun = run && ACTIVE_STATUSES.has(run.status) ? run : null;
  const below = useThread((state) => (parent && threadId ? (state.data.children.get(parent)?.length ?? 0) : 0));
  const area = useRef<HTMLTextAreaElement>(null);
  useAutoHeight(area, text);
  useEffect(() => () => sending?.abort(), [sending]);
  useEffect(() => {
    if (takesFocus(threadId)) area.current?.focus();
  }, [threadId]);

  const ready = text.trim() !== '' && !sending && (!!activeRun || (chosen.length > 0 && (!threadId || !!parent)));
  // What is sent before the workers are known goes as soon as they are.
  const [early, setEarly] = useState(false);
  const unknown = useWorkers().isPending;
  useEffect(() => {
    if (!early || unknown) return;
    setEarly(false);
    void submit();
  });
  const submit = async () => {
    if (unknown) setEarly(true);
    if (!ready) return;
    const abort = new AbortController();
    setSending(abort);
    setProblem(null);
    const keepsFocus = document.activeElement === area.current || !hasTouchKeyboard();
    try {
      if (activeRun && (await queue(activeRun, abort.signal))) {
        if (keepsFocus) area.current?.focus();
        return;
      }
      const sent = await send(
        { threadId, parentId: parent, messages: [{ role: 'user', content: text }], workers: chosen, configs: configsOf(threadId, chosen), n },
        { signal: abort.signal, onWaiting: setWaiting },
      );
      const rest = setText((now) => withoutSent(now, text));
      const [first = ''] = sent.outputIds;
      if (!threadId) setPreferences({ workersOf: { ...usePreferences.getState().workersOf, [sent.threadId]: chosen } });
      // The user may have left the page meanwhile, and is not taken back to it.
      if (!area.current) return;
      if (!threadId) {
        setText(() => '');
        storeDraft(sent.threadId, rest);
        if (keepsFocus) focusWhenShown(sent.threadId);
      } else if (keepsFocus) area.current.focus();
      if (sent.outputIds.length > 1) navigate(threadPath(sent.threadId, sent.inputId, 'compare'));
      else openBranch(sent.threadId, first, { end: true });
    } catch (error) {
      if (!abort.signal.aborted) setProblem({ text: errorMessage(error), fields: error instanceof Problem ? error.fields : [] });
    } finally {
      setSending(null);
      setWaiting(null);
    }
  };

  /** Queue the message for a run that is under way; false if it has ended meanwhile. */
  const queue = async (under: Run, signal: AbortSignal) => {
    try {
      addQueued(under.id, await queueMessages(under, [{ role: 'user', content: text }], { signal, onWaiting: setWaiting }));
      setText((now) => withoutSent(now, text));
      return true;
    } catch (error) {
      if (error instanceof Problem && error.status === 409) return false;
      throw error;
    }
  };

  return (
    <form
      className="composer"
      aria-label="Your message"
      onSubmit={(event) => {
        event.preventDefault();
        void submit();
      }}
    >
      {run && (
        <QueuedMessages
          key={run.id}
          run={run}
          onEdit={(queued) => {
            setText((now) => (now.trim() ? `${queued}\n\n${now}` : queued));
            area.current?.focus();
          }}
        />
      )}
      {below > 0 && (
        <p className="composer-note">
          {below === 1 ? 'The thread already continues from here.' : `The thread already continues from here in ${below} branches.`} Your message starts a new branch.
        </p>
      )}
      {waiting && (
        <p className="composer-note" role="status">
          {waiting.status === 429 ? waiting.message : 'Not sent yet: the server cannot be reached.'} It will be sent as soon as possible.{' '}
          <button type="button" className="link" onClick={() => sending?.abort()}>Cancel</button>
        </p>
      )}
      {problem && <p className="alert" role="alert">{problem.text}</p>}
      <div className="composer-box">
        <textarea
          ref={area}
          data-composer
          aria-label="Message"
          dir="auto"
          placeholder={threadId ? 'Reply …' : 'Ask anything …'}
          rows={1}
          value={text}
          readOnly={!!waiting}
          autoFocus={!threadId}
          onChange={(event) => {
            setText(() => event.target.value);
            setEarly(false);
          }}
          onKeyDown={(event) => {
            if (event.key === 'Enter' && !event.shiftKey && !isComposing(event.nativeEvent)) {
              event.preventDefault();
              void submit();
            }
          }}
        />
        <div className="composer-tools">
          <WorkerPicker threadId={threadId} chosen={chosen} n={n} onN={setN} problems={problem?.fields ?? NO_FIELDS} />
          <span className="grow" />
          {activeRun && (
            <button type="button" className="send" aria-label="Stop generating" onClick={() => void cancelRun(activeRun).catch(notifyError)}>
              <Square aria-hidden="true" />
            </button>
          )}
          {(!activeRun || text.trim() !== '') && (
            <button type="submit" className="send" aria-label={activeRun ? 'Queue message' : 'Send'} disabled={!ready}>
              <ArrowUp aria-hidden="true" />
            </button>
          )}
        </div>
      </div>
    </form>
  );
}

/** What was typed in addition while a message was sent. */
function withoutSent(text: string, sent: string): string {
  return text.startsWith(sent) ? text.slice(sent.length).trimStart() : text;
}

/** The text that was not sent yet, also after a reload. What changes it returns the new text. */
function useDraft(threadId: string | null): [string, (change: (text: string) => string) => string] {
  const [text, setText] = useState(() => localStorage.getItem(draftKey(threadId)) ?? '');
  const current = useRef(text);
  const change = useCallback(
    (next: (text: string) => string) => {
      current.current = next(current.current);
      setText(current.current);
      storeDraft(threadId, current.current);
      return current.current;
    },
    [threadId],
  );
  return [text, change];
}

function storeDraft(threadId: string | null, text: string): void {
  try {
    if (text) localStorage.setItem(draftKey(threadId), text);
    else localStorage.removeItem(draftKey(threadId));
  } catch {
    // Storage is full or forbidden: the draft lasts as long as the page.
  }
}

/** The run that fills the state to reply to, or has filled it. */
function useRunOf(parent: string | null): Run | null {
  return useThread((state) => {
    const node = parent ? state.data.nodes.get(parent) : undefined;
    return (node?.runId && state.data.runs.get(node.runId)) || null;
  });
}

/** The largest part of the window's height that the field takes. */
const MAX_HEIGHT = 0.4;

function useAutoHeight(area: React.RefObject<HTMLTextAreaElement | null>, text: string): void {
  useLayoutEffect(() => {
    const field = area.current;
    if (!field) return;
    field.style.height = 'auto';
    field.style.height = `${Math.min(field.scrollHeight, innerHeight * MAX_HEIGHT)}px`;
  }, [area, text]);
}
