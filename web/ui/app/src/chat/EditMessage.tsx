import type { Message, MessageInput } from '@branchline/client/api/types';
import { saveBranch } from '@branchline/client/thread/actions';
import { useEffect, useLayoutEffect, useRef, useState } from 'react';
import { openBranch } from '../navigation/openBranch';
import { navigate, threadPath } from '../navigation/routes';
import { send } from '../runs/send';
import { editOf, keptText, useKeptText } from '../stores/keptText';
import { useThread } from '../stores/thread';
import { Button } from '../ui/Button';
import { ConfirmDialog } from '../ui/ConfirmDialog';
import { isComposing } from '../ui/keys';
import { notifyError } from '../ui/notifications';
import { configsOf } from '../workers/configs';
import { useChosenWorkers } from '../workers/useChosenWorkers';

/** The message that is edited if a state has several: the user's, or the last text of an answer. */
export function editableMessage(messages: readonly Message[]): Message | undefined {
  const texts = messages.filter((message) => message.type === 'text' && message.channel === 'answer');
  return texts.find((message) => message.role === 'user') ?? texts.at(-1);
}

/** A form to edit a state's message. The edited version becomes a branch; the original stays. */
export function EditMessage({ stateId, messages, onDone: close }: { stateId: string; messages: readonly Message[]; onDone: () => void }) {
  const threadId = useThread((state) => state.data.threadId);
  const parent = useThread((state) => state.data.nodes.get(stateId)?.parentId) ?? '';
  const editable = editableMessage(messages);
  const original = editable?.content ?? '';
  const [isNew] = useState(() => keptText(editOf(stateId)) === null);
  const [text, setText] = useKeptText(editOf(stateId), original);
  const [leaving, setLeaving] = useState(false);
  const [sending, setSending] = useState<AbortController | null>(null);
  useEffect(() => () => sending?.abort(), [sending]);
  const workers = useChosenWorkers(threadId, useThread((state) => state.head));
  const area = useRef<HTMLTextAreaElement>(null);
  useLayoutEffect(() => {
    const field = area.current;
    if (!field) return;
    field.style.height = 'auto';
    field.style.height = `${field.scrollHeight + 2}px`;
  }, [text]);

  const onDone = () => {
    setText(original);
    close();
  };
  const editedMessages = (): MessageInput[] =>
    messages.map(({ id, role, type, channel, author, content, data, files }) => ({
      role,
      type,
      channel,
      author,
      data,
      files: (files ?? []).map((file) => file.id),
      content: id === editable?.id ? text : content,
    }));
  /** Save or run, then show the result, unless the form was closed meanwhile. */
  const submit = async (work: (signal: AbortSignal) => Promise<() => void>) => {
    const abort = new AbortController();
    setSending(abort);
    try {
      const show = await work(abort.signal);
      if (abort.signal.aborted) return;
      show();
      onDone();
    } catch (error) {
      if (abort.signal.aborted) return;
      notifyError(error);
      setSending(null);
    }
  };
  const save = () =>
    submit(async () => {
      const id = await saveBranch(threadId, parent, editedMessages());
      return () => openBranch(threadId, id, { at: id, instead: stateId });
    });
  const run = () =>
    submit(async (signal) => {
      const sent = await send({ threadId, parentId: parent, messages: editedMessages(), workers, configs: configsOf(threadId, workers), n: 1 }, { signal });
      if (sent.outputIds.length > 1) return () => navigate(threadPath(threadId, sent.inputId, 'compare'));
      return () => openBranch(threadId, sent.outputIds[0] ?? sent.inputId, { at: sent.inputId, instead: stateId });
    });
  const empty = text.trim() === '';
  const leave = () => (text === original ? onDone() : setLeaving(true));
  return (
    <form
      className="edit"
      aria-label="Edit message"
      onSubmit={(event) => {
        event.preventDefault();
        void run();
      }}
      onKeyDown={(event) => {
        if (isComposing(event.nativeEvent)) return;
        // A dialog that the form opens passes its keys on to it.
        if (event.defaultPrevented || !event.currentTarget.contains(event.target as Element)) return;
        if (event.key === 'Escape') {
          event.preventDefault();
          leave();
        }
        if (event.key === 'Enter' && (event.metaKey || event.ctrlKey) && !empty) void run();
      }}
    >
      <textarea ref={area} className="input" aria-label="Edited message" dir="auto" value={text} autoFocus={isNew} onChange={(event) => setText(event.target.value)} />
      <div className="edit-foot">
        <p>The original stays on its own branch.</p>
        <Button look="quiet" onClick={leave}>Cancel</Button>
        <Button disabled={!!sending || empty} onClick={() => void save()}>Save as branch</Button>
        <Button look="main" type="submit" disabled={!!sending || empty || !workers.length}>Save and run</Button>
      </div>
      {leaving && (
        <ConfirmDialog title="Discard your changes?" action="Discard" onClose={() => setLeaving(false)} onConfirm={onDone}>
          What you have changed in this message is not saved.
        </ConfirmDialog>
      )}
    </form>
  );
}
