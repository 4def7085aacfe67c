import { ACTIVE_STATUSES, type QueuedMessage, type Run } from '@branchline/client/api/types';
import { removeQueued, sendQueuedNow } from '@branchline/client/thread/actions';
import { sendQueuedToSessionNow } from '@branchline/client/thread/sessionActions';
import { ArrowUp, Pencil, X } from 'lucide-react';
import { useEffect, useRef, useState } from 'react';
import { openBranch } from '../navigation/openBranch';
import { dropQueued, queuedChanged, useQueued } from '../stores/queued';
import { useThread } from '../stores/thread';
import { Button, IconButton } from '../ui/Button';
import { notifyError } from '../ui/notifications';

/** The messages that wait for a run, and what can be done with them until they are read. */
export function QueuedMessages({ run, onEdit }: { run: Run; onEdit: (text: string) => void }) {
  const queued = useQueued(run);
  const [busy, setBusy] = useState(false);
  const isTurn = useThread(({ data: { session } }) => session?.run_id === run.id && session.status !== 'closed');
  useFollowNext(run, queued.length);
  if (!queued.length) return null;

  const take = async (message: QueuedMessage, then: (text: string) => void = () => {}) => {
    setBusy(true);
    try {
      if (await removeQueued(message)) {
        dropQueued(message);
        then(message.content);
      } else queuedChanged(run.id);
    } catch (error) {
      notifyError(error);
    } finally {
      setBusy(false);
    }
  };
  const sendNow = async () => {
    setBusy(true);
    try {
      const sent = isTurn ? await sendQueuedToSessionNow(run) : await sendQueuedNow(run);
      if (sent) openBranch(sent.threadId, sent.outputIds[0] ?? sent.inputId, { end: true });
    } catch (error) {
      notifyError(error);
    } finally {
      setBusy(false);
      queuedChanged(run.id);
    }
  };

  return (
    <section className="queued" aria-label="Queued messages">
      <ul>
        {queued.map((message) => (
          <li key={message.id} className="queued-message">
            <span className="queued-text" dir="auto">{message.content}</span>
            <IconButton label="Edit queued message" icon={Pencil} disabled={busy} onClick={() => void take(message, onEdit)} />
            <IconButton label="Remove queued message" icon={X} disabled={busy} onClick={() => void take(message)} />
          </li>
        ))}
      </ul>
      <div className="queued-note">
        <p className="composer-note" role="status">{noteOf(run)}</p>
        {run.status !== 'success' && (
          <Button look="quiet" icon={ArrowUp} disabled={busy} onClick={() => void sendNow()}>
            {ACTIVE_STATUSES.has(run.status) ? 'Stop and send now' : 'Send now'}
          </Button>
        )}
      </div>
    </section>
  );
}

function noteOf({ status }: Run): string {
  if (status === 'success') return 'Sent in a moment.';
  return ACTIVE_STATUSES.has(status) ? 'Sent when this answer is complete, if it is not read before.' : 'Not sent: the answer was not completed.';
}

/** When what was left has begun the next run, show that: it is below the state that this run has filled. */
function useFollowNext(run: Run, waiting: number): void {
  const threadId = run.thread_id;
  const left = useRef(0);
  const next = useThread(({ data }) => {
    const input = data.children.get(run.output_state_id)?.at(-1);
    return input && !data.nodes.get(input)?.runId ? (data.children.get(input)?.at(-1) ?? null) : null;
  });
  const before = useRef(next);
  if (waiting) left.current = waiting;
  useEffect(() => {
    if (run.status !== 'success' || !left.current || !next || next === before.current) return;
    left.current = 0;
    queuedChanged(run.id);
    openBranch(threadId, next, { end: true });
  }, [run, next, threadId]);
}
