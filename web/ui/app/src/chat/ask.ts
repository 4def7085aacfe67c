/** What a person can have done: ask, ask again, edit, stop, answer. */
import { api, type RunWish } from '@branchline/client/api/calls';
import { inWords, Problem } from '@branchline/client/api/client';
import type { Accepted, Config, MessageInput, Run } from '@branchline/client/api/types';
import { dispatch, takeAccepted, threadStore } from '@branchline/client/thread/store';
import { listsChanged, workerName } from '../session';
import { newKey } from '../ui/keys';
import { complain } from '../ui/notes';

export interface Wish {
  threadId: string | null;
  /** The state to go on from; the root of a new thread if null. */
  parent: string | null;
  messages: MessageInput[];
  workers: string[];
  configs: Record<string, Config>;
  n: number;
}

export interface Asked {
  threadId: string;
  /** The states that are being filled. */
  outputs: string[];
  input: string;
}

/** Told while a request cannot be sent: it is tried again until it can. */
export type Waiting = (problem: Problem | null) => void;

/**
 * Ask one worker or several, each `n` times, all on the same question. Throws where the first is not
 * asked; where another is not, a note says so, and what was accepted stands.
 */
export async function ask(wish: Wish, waiting: Waiting, signal: AbortSignal): Promise<Asked> {
  const [first, ...others] = wish.workers;
  if (!first) throw new Error('Choose a worker first.');
  const of = (worker: string): RunWish => ({ worker_id: worker, config: wish.configs[worker] ?? {}, n: wish.n });
  const key = newKey();
  let threadId = wish.threadId;
  let accepted: Accepted;
  if (threadId && wish.parent) {
    const [thread, parent] = [threadId, wish.parent];
    accepted = await untilSent(
      () => api.run(thread, { ...of(first), input_state_id: parent, messages: wish.messages }, key),
      waiting,
      signal,
    );
    takeAccepted(threadId, accepted);
  } else {
    const made = await untilSent(
      () => api.runOnNewThread({ ...of(first), messages: wish.messages }, key),
      waiting,
      signal,
    );
    accepted = made;
    threadId = made.thread.id;
    listsChanged(threadId);
  }
  const outputs = accepted.states.map((state) => state.id);
  for (const worker of others) {
    const [thread, again] = [threadId, newKey()];
    try {
      const more = await untilSent(
        () => api.run(thread, { ...of(worker), input_state_id: accepted.input_state.id }, again),
        waiting,
        signal,
      );
      takeAccepted(threadId, more);
      outputs.push(...more.states.map((state) => state.id));
    } catch (error) {
      if (signal.aborted) break;
      complain(new Error(`${workerName(worker)} was not asked. ${inWords(error)}`));
    }
  }
  return { threadId, outputs, input: accepted.input_state.id };
}

/** Send it; while nothing answers, or too much is going on, wait and send the same again. */
async function untilSent<T>(send: () => Promise<T>, waiting: Waiting, signal: AbortSignal): Promise<T> {
  for (let tries = 0; ; tries += 1) {
    signal.throwIfAborted();
    try {
      const answer = await send();
      waiting(null);
      return answer;
    } catch (error) {
      if (!(error instanceof Problem) || !(error.passing || error.status === 429)) throw error;
      waiting(error);
      await pause(Math.max(error.retryAfter * 1000, Math.min(5000, 500 * 2 ** tries)), signal);
    }
  }
}

/** Wait so long, or until the network is back. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener('online', done);
      signal.removeEventListener('abort', stop);
      resolve();
    };
    const stop = () => {
      removeEventListener('online', done);
      clearTimeout(timer);
      reject(signal.reason as Error);
    };
    const timer = setTimeout(done, ms);
    addEventListener('online', done);
    signal.addEventListener('abort', stop);
    if (signal.aborted) stop();
  });
}

/** Have the same worker answer the same question again. */
export async function again(run: Run, n = 1, worker?: { id: string; config: Config }): Promise<Asked> {
  const accepted = await api.run(
    run.thread_id,
    {
      input_state_id: run.input_state_id,
      worker_id: worker?.id ?? run.worker_id,
      config: worker?.config ?? (run.config as Config),
      n,
    },
    newKey(),
  );
  takeAccepted(run.thread_id, accepted);
  return { threadId: run.thread_id, outputs: accepted.states.map((state) => state.id), input: accepted.input_state.id };
}

/** Put a state beside another, without a run. */
export async function saveBranch(threadId: string, parent: string, messages: MessageInput[]): Promise<string> {
  const state = await api.addState(threadId, parent, messages);
  dispatch({ type: 'state', state });
  return state.id;
}

export async function stop(run: Pick<Run, 'id'>): Promise<void> {
  dispatch({ type: 'run', run: await api.cancel(run.id) });
}

export async function answer(run: Run, text: unknown): Promise<void> {
  const asked = run.confirmation as { id?: string } | null;
  dispatch({ type: 'run', run: await api.answer(run.id, text, asked?.id) });
}

export async function mark(stateId: string, marks: { label?: string | null; starred?: boolean }): Promise<void> {
  const { messages: _, ...state } = await api.markState(stateId, marks);
  dispatch({ type: 'state', state });
}

/** The run that fills a state; asked for if it is not here yet. */
export async function runOf(stateId: string): Promise<Run> {
  const { data } = threadStore.getState();
  const id = data.nodes.get(stateId)?.runId;
  if (!id) throw new Error('Nothing was run here.');
  const known = data.runs.get(id);
  if (known) return known;
  const run = await api.oneRun(id);
  dispatch({ type: 'run', run });
  return run;
}
