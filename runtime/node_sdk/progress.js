// What a worker does, as its user sees it: one step after the other.
import { AsyncLocalStorage } from "node:async_hooks";

/** The step in whose function we are. */
const outer = new AsyncLocalStorage();

/** Announce a step by `emit`; with `fn`, until that has ended, where the step around it goes on. */
export function announce(description, emit, fn) {
  emit(description);
  return fn && within(description, emit, fn);
}

async function within(description, emit, fn) {
  const value = await outer.run(description, fn);
  const around = outer.getStore();
  if (around !== undefined) emit(around);
  return value;
}
