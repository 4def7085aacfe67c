import { loadRun, regenerate, type Sent } from '@branchline/client/thread/actions';
import { configsOf } from '../workers/configs';

/**
 * Have the input of a state's run answered again, by the same worker or another, as it is configured in
 * the thread now: what failed is often asked again because its configuration was mended.
 */
export async function askAgain(stateId: string, { worker, n = 1 }: { worker?: string; n?: number } = {}): Promise<Sent> {
  const run = await loadRun(stateId);
  const id = worker ?? run.worker_id;
  return regenerate(run, { id, config: configsOf(run.thread_id, [id])[id] ?? {} }, n);
}
