/** What a user does with the session of a thread. What the server answers is applied to the watched thread at once. */
import { api, type SessionAct, type SessionChanges, type SessionRequest } from '../api/calls';
import { randomId } from '../api/randomId';
import { ACTIVE_STATUSES, type MessageInput, type Run, type Session } from '../api/types';
import { retryUntilSent, type SendOptions } from './actions';
import { dispatch, loadHistory, threadStore } from './store';

function applySession(session: Session): void {
  if (threadStore.getState().data.threadId === session.thread_id) dispatch({ type: 'session', session });
}

/** Have a thread go on by itself. */
export async function createSession(threadId: string, wish: SessionRequest): Promise<void> {
  applySession(await api.createSession(threadId, wish));
}

/** Change its limits and its prompt, or where it goes on. */
export async function changeSession(threadId: string, changes: SessionChanges): Promise<void> {
  applySession(await api.changeSession(threadId, changes));
}

export async function actOnSession(threadId: string, act: SessionAct): Promise<void> {
  applySession(await api.actOnSession(threadId, act));
}

/**
 * Send messages to a session. Returns the run that they have begun, or for which they wait.
 *
 * Throws what the server says: 409 where the session is closed or has used up a budget.
 */
export async function sendToSession(
  threadId: string,
  messages: MessageInput[],
  options: Pick<SendOptions, 'signal' | 'onWaiting'>,
): Promise<Run> {
  const key = randomId();
  const { session, run } = await retryUntilSent(() => api.sendToSession(threadId, messages, key), options);
  applySession(session);
  const { data } = threadStore.getState();
  if (data.threadId !== threadId) return run;
  // The log reports the new states, too; until it does they would be missing. The messages are sent in any case.
  if (!data.nodes.has(run.output_state_id)) await loadHistory(run.output_state_id).catch(() => {});
  dispatch({ type: 'run', run });
  return run;
}

/** Seconds to wait for the end of a turn that is stopped for a message. */
const STOP_WITHIN = 30;

/** Stop a turn, if it has not ended, and have the messages that wait for it begin the next one at once, which is followed. */
export async function sendQueuedToSessionNow(run: Run): Promise<null> {
  if (ACTIVE_STATUSES.has(run.status)) {
    const ended = await api.cancelRun(run.id, STOP_WITHIN);
    dispatch({ type: 'run', run: ended });
    if (ACTIVE_STATUSES.has(ended.status)) throw new Error('The turn could not be stopped yet. Try again in a moment.');
    // They begin the next turn by themselves, which is not to be stopped.
    if (ended.status === 'success') return null;
    // The session takes note of the end at once.
    await actOnSession(run.thread_id, 'stop');
  }
  // Where nothing waits any more, the session would go on with its prompt.
  if ((await api.queuedMessages(run.id)).length) await actOnSession(run.thread_id, 'resume');
  return null;
}
