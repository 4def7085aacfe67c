import { loadRun } from '@branchline/client/thread/actions';
import { threadStore } from '@branchline/client/thread/store';
import { leafBelow } from '@branchline/client/thread/tree';
import { ArrowUp } from 'lucide-react';
import { type FormEvent, useEffect, useRef, useState } from 'react';
import { send } from '../runs/send';
import { useKeptText } from '../stores/keptText';
import { useThread } from '../stores/thread';
import { Button } from '../ui/Button';
import { notifyError } from '../ui/notifications';
import { configsOf } from '../workers/configs';

/** A message that goes on with each of the branches that are compared; each is answered by its own worker. */
export function ReplyToAll({ inputId, columns, disabled }: { inputId: string; columns: readonly string[]; disabled: boolean }) {
  const threadId = useThread((state) => state.data.threadId);
  const [text, setText] = useKeptText(`reply.${inputId}`);
  const [sending, setSending] = useState<AbortController | null>(null);
  /** Those that this message was sent to already, if another one refused it. */
  const sent = useRef(new Set<string>());
  useEffect(() => () => sending?.abort(), [sending]);
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    const abort = new AbortController();
    setSending(abort);
    try {
      for (const column of columns) {
        if (sent.current.has(column)) continue;
        await replyTo(threadId, column, text, abort.signal);
        sent.current.add(column);
      }
      sent.current.clear();
      setText('');
    } catch (error) {
      if (!abort.signal.aborted) notifyError(error);
    } finally {
      setSending(null);
    }
  };
  return (
    <form className="reply-to-all" aria-label="Reply to all" onSubmit={(event) => void submit(event)}>
      <input
        className="input"
        dir="auto"
        aria-label="Reply to all branches"
        placeholder="Reply to all branches …"
        value={text}
        onChange={(event) => {
          sent.current.clear();
          setText(event.target.value);
        }}
      />
      <Button look="main" icon={ArrowUp} type="submit" disabled={disabled || !!sending || !text.trim()}>Send to all</Button>
    </form>
  );
}

/** Go on with the branch of a column, with the worker that has answered at its beginning. */
async function replyTo(threadId: string, column: string, content: string, signal: AbortSignal): Promise<void> {
  const { worker_id: worker } = await loadRun(column);
  const { data, choices } = threadStore.getState();
  const parentId = leafBelow(data.children, choices, column);
  const configs = configsOf(threadId, [worker]);
  await send({ threadId, parentId, messages: [{ role: 'user', content }], workers: [worker], configs, n: 1 }, { signal });
}
