/** Rendering a long text: what is seen first at once, and the rest in idle moments, so that the page answers meanwhile. */
import { createContext, useContext, useEffect, useState } from 'react';

/** Which part of the texts is rendered at once: that which is seen first. A chat is scrolled to its end. */
export const AtOnce = createContext<'start' | 'end' | 'all'>('start');

/** Blocks that are rendered at once, and in each idle moment after that. */
const FIRST = 100;
const STEP = 50;
/** Milliseconds after which a moment is taken for idle. */
const PATIENCE = 200;

/** From which block to which one a text is rendered; in the end it is all of it, and always while it is `growing`. */
export function useRange(count: number, growing: boolean): [first: number, end: number] {
  const atOnce = useContext(AtOnce);
  const all = growing || atOnce === 'all';
  const [left, setLeft] = useState(Math.max(0, count - FIRST));
  if (all && left) setLeft(0);
  const missing = all ? 0 : left;
  useEffect(() => (missing ? whenIdle(() => setLeft(Math.max(0, missing - STEP))) : undefined), [missing]);
  return atOnce === 'end' ? [missing, count] : [0, count - missing];
}

/** Have something done in an idle moment; returns what calls it off. */
function whenIdle(act: () => void): () => void {
  if (!('requestIdleCallback' in window)) {
    const timer = setTimeout(act, PATIENCE / 10);
    return () => clearTimeout(timer);
  }
  const id = requestIdleCallback(act, { timeout: PATIENCE });
  return () => cancelIdleCallback(id);
}
