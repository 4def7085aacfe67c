/**
 * Whether the server has not answered for a while. A browser makes only a few connections to a server;
 * what asks for one more waits until another is closed, and is told neither of it nor of an error.
 */
import { createStore } from 'zustand/vanilla';

/** Milliseconds after which an answer is late. */
const PATIENCE = 5000;

export const waitingStore = createStore<{ waiting: boolean }>(() => ({ waiting: false }));

const late = new Set<object>();

/** Note that something was asked; to be called when there is an answer or an error: what is returned. */
export function awaitAnswer(): () => void {
  const question = {};
  const timer = setTimeout(() => {
    late.add(question);
    waitingStore.setState({ waiting: true });
  }, PATIENCE);
  return () => {
    clearTimeout(timer);
    if (late.delete(question) && !late.size) waitingStore.setState({ waiting: false });
  };
}
