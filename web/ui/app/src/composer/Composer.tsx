import { STORAGE_PREFIX } from '@branchline/client/api/basePath';
import { isAccepted } from '@branchline/client/api/files';
import { errorMessage, Problem } from '@branchline/client/api/request';
import { ACTIVE_STATUSES, type FieldProblem, type MessageInput, type Run, type Worker } from '@branchline/client/api/types';
import { cancelRun, queueMessages } from '@branchline/client/thread/actions';
import { isTip, latestOf } from '@branchline/client/thread/session';
import { sendToSession } from '@branchline/client/thread/sessionActions';
import { threadStore } from '@branchline/client/thread/store';
import { ArrowUp, Paperclip, Square } from 'lucide-react';
import { useCallback, useEffect, useLayoutEffect, useRef, useState } from 'react';
import { openBranch } from '../navigation/openBranch';
import { navigate, threadPath } from '../navigation/routes';
import { send } from '../runs/send';
import { setPreferences, usePreferences } from '../stores/preferences';
import { addQueued, queuedChanged } from '../stores/queued';
import { useThread } from '../stores/thread';
import { useWorkerName, useWorkers } from '../stores/workers';
import { IconButton } from '../ui/Button';
import { isComposing } from '../ui/keys';
import { notifyError } from '../ui/notifications';
import { configsOf } from '../workers/configs';
import { useChosenWorkers } from '../workers/useChosenWorkers';
import { WorkerPicker } from '../workers/WorkerPicker';
import { Attachments } from './Attachments';
import { focusWhenShown, hasTouchKeyboard, takesFocus } from './focus';
import { QueuedMessages } from './QueuedMessages';
import { type Attachment, useAttachments } from './useAttachments';
import { useDrop } from './useDrop';

const NO_FIELDS: readonly FieldProblem[] = [];

const draftKey = (threadId: string | null) => `${STORAGE_PREFIX}draft.${threadId ?? 'new'}`;

/** The field for a message. A draft is kept in the browser until the server has accepted it. */
export function Composer({ threadId, parent }: { threadId: string | null; parent: string | null }) {
  const [text, setText] = useDraft(threadId);
  const [n, setN] = useState(1);
  const [sending, setSending] = useState<AbortController | null>(null);
  const [waiting, setWaiting] = useState<Problem | null>(null);
  const [problem, setProblem] = useState<{ text: string; fields: readonly FieldProblem[] } | null>(null);
  const picked = useChosenWorkers(threadId, parent);
  const inSession = useThread(({ data }) => data.threadId === threadId && isTip(data, parent));
  const worker = useThread(({ data }) => data.session?.worker_id ?? data.thread?.worker_id);
  const chosen = inSession && worker ? [worker] : picked;
  const run = useRunOf(parent);
  const activeRun = run && ACTIVE_STATUSES.has(run.status) ? run : null;
  const below = useThread((state) => (parent && threadId ? (state.data.children.get(parent)?.length ?? 0) : 0));
  const area = useRef<HTMLTextAreaElement>(null);
  useAutoHeight(area, text);
  useEffect(() => () => sending?.abort(), [sending]);
  useEffect(() => {
    if (takesFocus(threadId)) area.current?.focus();
  }, [threadId]);

  const { attachments, add, remove, forget } = useAttachments();
  const picker = useRef<HTMLInputElement>(null);
  const drop = useDrop(add);
  const names = useWorkerName();
  const workers = useWorkers().data;
  const refusal = refusalOf(attachments, activeRun ? [activeRun.worker_id] : chosen, workers ?? [], names);
  const filled = text.trim() !== '' || attachments.length > 0;
  const complete = attachments.every((attachment) => attachment.file) && !refusal;
  // Whether the thread has a session, to which the message goes, is known with its first snapshot.
  const unknown = useThread(({ data }) => !!threadId && !data.cursor) || !workers;
  const ready = filled && complete && !unknown && !sending && (!!activeRun || (chosen.length > 0 && (!threadId || !!parent)));
  // What is sent before all that is known goes as soon as it is.
  const [early, setEarly] = useState(false);
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
    const sentFiles = attachments;
    const messages = [{ role: 'user' as const, content: text, files: sentFiles.flatMap(({ file }) => (file ? [file.id] : [])) }];
    try {
      if (threadId && inSession) {
        const turn = await sendToSession(threadId, messages, { signal: abort.signal, onWaiting: setWaiting });
        forget(sentFiles);
        setText((now) => withoutSent(now, text));
        queuedChanged(turn.id);
        if (!area.current) return;
        if (keepsFocus) area.current.focus();
        // Further turns may have followed before the answer came.
        if (turn.id !== activeRun?.id) openBranch(threadId, latestOf(threadStore.getState().data, turn.output_state_id), { end: true });
        return;
      }
      if (activeRun && (await queue(activeRun, messages, abort.signal))) {
        forget(sentFiles);
        if (keepsFocus) area.current?.focus();
        return;
      }
      const sent = await send(
        { threadId, parentId: parent, messages, workers: chosen, configs: configsOf(threadId, chosen), n },
        { signal: abort.signal, onWaiting: setWaiting },
      );
      forget(sentFiles);
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
  const queue = async (under: Run, messages: MessageInput[], signal: AbortSignal) => {
    try {
      addQueued(under.id, await queueMessages(under, messages, { signal, onWaiting: setWaiting }));
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
      {refusal && <p className="alert" role="alert">{refusal}</p>}
      <div className={`composer-box${drop.over ? ' drop' : ''}`} {...drop.handlers}>
        <Attachments attachments={attachments} onRemove={remove} />
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
          <IconButton label="Attach files" icon={Paperclip} onClick={() => picker.current?.click()} />
          <input
            ref={picker}
            type="file"
            multiple
            hidden
            aria-label="Files to attach"
            onChange={(event) => {
              add([...(event.target.files ?? [])]);
              event.target.value = '';
            }}
          />
          {inSession ? (
            <span className="composer-note" title="The worker of the session">{worker ? names(worker) : 'Default worker'}</span>
          ) : (
            <WorkerPicker threadId={threadId} chosen={chosen} n={n} onN={setN} problems={problem?.fields ?? NO_FIELDS} />
          )}
          <span className="grow" />
          {activeRun && (
            <button type="button" className="send" aria-label="Stop generating" onClick={() => void cancelRun(activeRun).catch(notifyError)}>
              <Square aria-hidden="true" />
            </button>
          )}
          {(!activeRun || filled) && (
            <button type="submit" className="send" aria-label={activeRun ? 'Queue message' : 'Send'} disabled={!ready}>
              <ArrowUp aria-hidden="true" />
            </button>
          )}
        </div>
      </div>
    </form>
  );
}

/** Why the files cannot go to the workers that are to answer; null where they can. */
function refusalOf(
  attachments: readonly Attachment[],
  asked: readonly string[],
  workers: readonly Worker[],
  nameOf: (id: string) => string,
): string | null {
  for (const id of asked) {
    const accepts = workers.find((worker) => worker.id === id)?.accepts ?? [];
    const refused = attachments.find(({ file }) => file && !isAccepted(accepts, file.type));
    if (!refused || !workers.length) continue;
    if (!accepts.length) return `${nameOf(id)} takes no files. Remove them, or choose another worker.`;
    return `${nameOf(id)} does not take ${refused.name}. It takes ${accepts.join(', ')}. Remove it, or choose another worker.`;
  }
  return null;
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
