/**
 * With which configurations the workers are asked in a thread. They belong to the thread, so that every
 * device asks in the same way.
 */
import type { ThreadChanges } from '../api/calls';
import type { Config, Run, Thread } from '../api/types';
import type { ThreadState } from './state';

/**
 * The configuration with which a worker is asked in a thread; undefined if the thread has none for it.
 *
 * The thread has one for its own worker, and those of others in its metadata. A worker that was never
 * configured there is asked as it was last.
 */
export function configIn({ thread, runs }: Pick<ThreadState, 'thread' | 'runs'>, worker: string): Config | undefined {
  const ofThread = thread?.worker_id === worker ? thread.config : thread && otherConfigs(thread)[worker];
  return ofThread ?? newestRun(runs, worker)?.config;
}

/** The changes of a thread that give it these configurations, by their workers. */
export function withConfigs(thread: Thread, configs: Readonly<Record<string, Config>>): ThreadChanges {
  const own = thread.worker_id ?? Object.keys(configs)[0];
  if (!own) return {};
  const { [own]: config, ...others } = configs;
  return {
    ...(config && { worker_id: own, config }),
    ...(Object.keys(others).length && { metadata: { ...thread.metadata, configs: { ...otherConfigs(thread), ...others } } }),
  };
}

function otherConfigs(thread: Thread): Record<string, Config> {
  const { configs } = thread.metadata;
  return typeof configs === 'object' && configs !== null ? (configs as Record<string, Config>) : {};
}

function newestRun(runs: ThreadState['runs'], worker: string): Run | undefined {
  let newest: Run | undefined;
  // Ids sort by their time of creation.
  for (const run of runs.values()) if (run.worker_id === worker && (!newest || run.id > newest.id)) newest = run;
  return newest;
}
