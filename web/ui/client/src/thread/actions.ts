/**
 * What a user does in a thread: send messages, regenerate, edit, stop, answer, label. What the server
 * accepts is applied to the watched thread at once, before the log reports it.
 */
import { api, type RunRequest } from '../api/calls';
import { randomId } from '../api/randomId';
import { Problem } from '../api/request';
import {
  type Accepted,
  ACTIVE_STATUSES,
  type Config,
  type MessageInput,
  type QueuedMessage,
  type Run,
  type State,
  type Thread,
} from '../api/types';
import { withConfigs } from './configs';
import { applyAccepted, applyThread, dispatch, threadStore } from './store';

export interface SendRequest {
  threadId: string | null;
  /** The state to continue from; null for the root of a new thread. */
  parentId: string | null;
  messages: MessageInput[];
  /** The ids of the workers that shall answer, and their configurations. */
  workers: readonly string[];
  configs: Readonly<Record<string, Config>>;
  /** How many answers each worker gives. */
  n: number;
}

export interface SendOptions {
  signal: AbortSignal;
  /** Called when a request cannot be sent yet and is retried, and with null once it was sent. */
  onWaiting?: (problem: Problem | null) => void;
  /** Called when a thread was created for the messages. */
  onThreadCreated?: (threadId: string) => void;
  /** Called when the server refuses a worker other than the first; the others stand. */
  onRefused?: (worker: string, error: unknown) => void;
}

export interface Sent {
  threadId: string;
  inputId: string;
  /** The states that the runs fill. */
  outputIds: string[];
}

/**
 * Send messages to one worker or several; all of them answer the same input state.
 *
 * Throws what the server said if it refuses the first worker, and the signal's reason if it is aborted
 * before anything was sent.
 */
export async function sendMessages(request: SendRequest, options: SendOptions): Promise<Sent> {
  const [first, ...others] = request.workers;
  if (!first) throw new Error('Select a worker first.');
  const { threadId, accepted } = await startFirst(request, first, options);
  const outputIds = accepted.states.map((state) => state.id);
  const inputId = accepted.input_state.id;
  for (const worker of others) {
    const key = randomId();
    try {
      const run = { ...runOf(request, worker), input_state_id: inputId };
      const more = await retryUntilSent(() => api.createRun(threadId, run, key), options);
      applyAccepted(threadId, more);
      outputIds.push(...more.states.map((state) => state.id));
    } catch (error) {
      if (options.signal.aborted) break;
      options.onRefused?.(worker, error);
    }
  }
  return { threadId, inputId, outputIds };
}

function runOf({ configs, n }: SendRequest, worker: string): RunRequest {
  return { worker_id: worker, config: configs[worker] ?? {}, n };
}

/** Start the first worker's runs; a thread is created with them if there is none yet. */
async function startFirst(request: SendRequest, worker: string, options: SendOptions): Promise<{ threadId: string; accepted: Accepted }> {
  const { threadId, parentId, messages } = request;
  const key = randomId();
  const run = { ...runOf(request, worker), messages };
  if (threadId && parentId) {
    const accepted = await retryUntilSent(() => api.createRun(threadId, { ...run, input_state_id: parentId }, key), options);
    applyAccepted(threadId, accepted);
    return { threadId, accepted };
  }
  const accepted = await retryUntilSent(() => api.createThreadWithRun(run, key), options);
  options.onThreadCreated?.(accepted.thread.id);
  return { threadId: accepted.thread.id, accepted };
}

/** Milliseconds: the first pause between two tries, and the longest; each is twice the one before. */
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 5000;

/** Send a request, and the same again for as long as the server cannot be reached or is too busy. */
export async function retryUntilSent<T>(send: () => Promise<T>, { signal, onWaiting }: SendOptions): Promise<T> {
  for (let tries = 0; ; tries += 1) {
    signal.throwIfAborted();
    try {
      const answer = await send();
      onWaiting?.(null);
      return answer;
    } catch (error) {
      if (!(error instanceof Problem) || !(error.isTransient || error.status === 429)) throw error;
      onWaiting?.(error);
      await pause(Math.max(error.retryAfter * 1000, Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** tries)), signal);
    }
  }
}

/** Wait for so many milliseconds, or until the network is back. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const cleanUp = () => {
      clearTimeout(timer);
      removeEventListener('online', done);
      signal.removeEventListener('abort', abort);
    };
    const done = () => {
      cleanUp();
      resolve();
    };
    const abort = () => {
      cleanUp();
      reject(signal.reason as Error);
    };
    const timer = setTimeout(done, ms);
    addEventListener('online', done);
    signal.addEventListener('abort', abort);
    if (signal.aborted) abort();
  });
}

/** Have a run's input answered again, `n` times, by a worker with a configuration. */
export async function regenerate(run: Run, worker: { id: string; config: Config }, n = 1): Promise<Sent> {
  const accepted = await api.createRun(
    run.thread_id,
    { input_state_id: run.input_state_id, worker_id: worker.id, config: worker.config, n },
    randomId(),
  );
  applyAccepted(run.thread_id, accepted);
  return { threadId: run.thread_id, outputIds: accepted.states.map((state) => state.id), inputId: accepted.input_state.id };
}

/** Add a state with these messages below `parentId`, without a run; returns its id. */
export async function saveBranch(threadId: string, parentId: string, messages: MessageInput[]): Promise<string> {
  const state = await api.addState(threadId, parentId, messages);
  dispatch({ type: 'state', state });
  return state.id;
}

/** Queue messages for a run that is under way. Throws what the server says, 409 where the run has ended. */
export function queueMessages(
  run: Pick<Run, 'id'>,
  messages: MessageInput[],
  options: Pick<SendOptions, 'signal' | 'onWaiting'>,
): Promise<QueuedMessage[]> {
  const key = randomId();
  return retryUntilSent(() => api.sendToRun(run.id, messages, key), options);
}

/** Remove a queued message; false if it does not wait any more, because it was read or has begun a run. */
export async function removeQueued({ run_id, id }: QueuedMessage): Promise<boolean> {
  try {
    await api.removeQueuedMessage(run_id, id);
    return true;
  } catch (error) {
    if (error instanceof Problem && (error.status === 404 || error.status === 409)) return false;
    throw error;
  }
}

/** Seconds to wait for the end of a run that is stopped for a message. */
const STOP_WITHIN = 30;

/**
 * Stop a run, if it has not ended, and have the messages that wait for it answered at once, by the same worker.
 *
 * Null where none waits any more: the worker has read them, or the run has succeeded and they begin the next
 * one by themselves. Done twice, as in two tabs, it begins one run.
 */
export async function sendQueuedNow(run: Run): Promise<Sent | null> {
  const ended = ACTIVE_STATUSES.has(run.status) ? await api.cancelRun(run.id, STOP_WITHIN) : run;
  dispatch({ type: 'run', run: ended });
  if (ACTIVE_STATUSES.has(ended.status)) throw new Error('The answer could not be stopped yet. Try again in a moment.');
  const queued = ended.status === 'success' ? [] : await api.queuedMessages(run.id);
  const [first, last] = [queued[0], queued.at(-1)];
  if (!first || !last) return null;
  const accepted = await api.createRun(
    run.thread_id,
    { input_state_id: run.output_state_id, messages: queued.map(asInput), worker_id: run.worker_id, config: run.config },
    `queued ${first.id} ${last.id} ${queued.length}`,
  );
  applyAccepted(run.thread_id, accepted);
  await Promise.all(queued.map(removeQueued));
  return { threadId: run.thread_id, outputIds: accepted.states.map((state) => state.id), inputId: accepted.input_state.id };
}

function asInput({ role, content, type, channel, author, data, files }: QueuedMessage): MessageInput {
  return { role, content, type, channel, author, data, files: files.map(({ id }) => id) };
}

export async function cancelRun(run: Pick<Run, 'id'>): Promise<void> {
  dispatch({ type: 'run', run: await api.cancelRun(run.id) });
}

/** Answer the question of a waiting run. */
export async function answerRun(run: Run, answer: unknown): Promise<void> {
  const confirmation = run.confirmation as { id?: string } | null;
  dispatch({ type: 'run', run: await api.answer(run.id, answer, confirmation?.id) });
}

/** Have the workers of a thread asked with these configurations from now on. Throws what the server refuses. */
export async function saveConfigs(thread: Thread, configs: Readonly<Record<string, Config>>): Promise<void> {
  applyThread(await api.updateThread(thread.id, withConfigs(thread, configs)));
}

/** Label a state, or star it. */
export async function updateState(stateId: string, marks: Partial<Pick<State, 'label' | 'starred'>>): Promise<void> {
  const { messages: _, ...state } = await api.updateState(stateId, marks);
  dispatch({ type: 'state', state });
}

/** The run that fills a state; it is fetched if it is not known yet. */
export async function loadRun(stateId: string): Promise<Run> {
  const { data } = threadStore.getState();
  const id = data.nodes.get(stateId)?.runId;
  if (!id) throw new Error('This message has no run.');
  const known = data.runs.get(id);
  if (known) return known;
  const run = await api.run(id);
  dispatch({ type: 'run', run });
  return run;
}
