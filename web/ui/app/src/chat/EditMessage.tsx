import type { Message, MessageInput } from '@branchline/client/api/types';
import { saveBranch } from '@branchline/client/thread/actions';
import { useEffect, useLayoutEffect, useRef, useState } from 'react';
import { go } from '../navigation/go';
import { address, navigate } from '../navigation/routes';
import { send } from '../runs/send';
import { usePreferences } from '../stores/preferences';
import { useThread } from '../stores/thread';
import { Button } from '../ui/Button';
import { complain } from '../ui/notes';
import { useChosenWorkers } from '../workers/chosen';

/** What is reworded where a state has several messages: the question, or the last of the answer. */
export function subjectOf(messages: readonly Message[]): Message | undefined {
  const texts = messages.filter((message) => message.type === 'text' && message.channel === 'answer');
  return texts.find((message) => message.role === 'user') ?? texts.at(-1);
}

/** Another wording of what was said. It becomes a branch; what was there stays. */
export function EditMessage({ stateId, messages, onDone }: { stateId: string; messages: readonly Message[]; onDone: () => void }) {
  const threadId = useThread((state) => state.data.threadId);
  const parent = useThread((state) => state.data.nodes.get(stateId)?.parentId) ?? '';
  const subject = subjectOf(messages);
  const [text, setText] = useState(subject?.content ?? '');
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

  const reworded = (): MessageInput[] =>
    messages.map(({ id, role, type, channel, author, content, data }) => ({
      role,
      type,
      channel,
      author,
      data,
      content: id === subject?.id ? text : content,
    }));
  /** Do the work, then show what came of it, unless one has gone on without it. */
  const finish = async (work: (signal: AbortSignal) => Promise<() => void>) => {
    const abort = new AbortController();
    setSending(abort);
    try {
      const show = await work(abort.signal);
      if (abort.signal.aborted) return;
      show();
      onDone();
    } catch (error) {
      if (abort.signal.aborted) return;
      complain(error);
      setSending(null);
    }
  };
  const save = () =>
    finish(async () => {
      const id = await saveBranch(threadId, parent, reworded());
      return () => go(threadId, id, { at: id, instead: stateId });
    });
  const run = () =>
    finish(async (signal) => {
      const { configs } = usePreferences.getState();
      const sent = await send({ threadId, parentId: parent, messages: reworded(), workers, configs, n: 1 }, { signal });
      if (sent.outputIds.length > 1) return () => navigate(address(threadId, sent.inputId, 'compare'));
      return () => go(threadId, sent.outputIds[0] ?? sent.inputId, { at: sent.inputId, instead: stateId });
    });
  const empty = text.trim() === '';
  return (
    <form
      className="edit"
      aria-label="Edit the message"
      onSubmit={(event) => {
        event.preventDefault();
        void run();
      }}
      onKeyDown={(event) => {
        if (event.key === 'Escape') onDone();
        if (event.key === 'Enter' && (event.metaKey || event.ctrlKey) && !empty) void run();
      }}
    >
      <textarea ref={area} className="input" aria-label="New wording" value={text} autoFocus onChange={(event) => setText(event.target.value)} />
      <div className="edit-foot">
        <p>The present wording stays, on its own branch.</p>
        <Button look="quiet" onClick={onDone}>Cancel</Button>
        <Button disabled={!!sending || empty} onClick={() => void save()}>Save as branch</Button>
        <Button look="main" type="submit" disabled={!!sending || empty || !workers.length}>Save and run</Button>
      </div>
    </form>
  );
}
