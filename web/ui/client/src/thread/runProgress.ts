/** What a run does, for pages that show no more of it: its steps, and its end. */
import { api } from '../api/calls';
import { parseCursor } from '../live/events';
import type { SharedStreams } from '../live/sharedStreams';

export interface RunListener {
  /** What it does next; null: it begins anew. */
  onStep: (description: string | null) => void;
  onEnd: () => void;
}

/**
 * Follow the run of a thread that has only this one, from its beginning if the log still has that, else from now on.
 * The function that is returned ends it.
 */
export function followRun(thread: string, streams: SharedStreams, { onStep, onEnd }: RunListener): () => void {
  let cursor: string | null = null;
  let stopped = false;
  const read = async (fromItsBeginning: boolean) => {
    const { cursor: now, runs } = await api.snapshot(thread, null);
    if (stopped) return;
    // No snapshot has the steps of an attempt that goes on.
    cursor = fromItsBeginning ? `${parseCursor(now)?.epoch}:0` : now;
    if (runs.some((run) => run.finished_at !== null)) onEnd();
    else streams.follow(thread);
  };
  const unwatch = streams.watch(thread, {
    cursor: () => cursor,
    onEvent: (id, event) => {
      cursor = id;
      if (event.type === 'run.step') onStep((event as { description: string }).description);
      else if (event.type === 'run.started' || event.type === 'run.retried') onStep(null);
      else if (event.type === 'run.completed') onEnd();
    },
    onReset: () => void read(false).catch(() => {}),
    onState: () => {},
  });
  // What cannot be read now is told by the hints of the user's stream, when the run has ended.
  read(true).catch(() => {});
  return () => {
    stopped = true;
    unwatch();
  };
}
