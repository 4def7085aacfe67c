import { loadHistory } from '@branchline/client/thread/store';
import { ArrowDown } from 'lucide-react';
import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from 'react';
import { takeScrollTarget, turnElement } from '../navigation/go';
import { usePath, useThread } from '../stores/thread';
import { complain } from '../ui/notes';
import { ForkBelow } from './ForkBelow';
import { Turn } from './Turn';

const NEAR = 32;
/** Pixels from the end from where one is offered a way back. */
const FAR = 240;

/**
 * The messages on the way from the root to the head. It is read from its end; what is before is
 * loaded when one comes near it. The end is followed only while one is there.
 */
export function Conversation() {
  const states = usePath();
  const loaded = useThread((state) => state.data.messages);
  const cut = useThread((state) => state.data.olderCursors);
  const known = useThread((state) => !!state.data.cursor);
  const { shown, before } = useMemo(() => visible(states, loaded, cut), [states, loaded, cut]);
  const { box, inner, away, toEnd, scrolled } = useFollowing(shown[0]);
  useMissing(states, loaded);

  return (
    <div className="conversation" ref={box} onScroll={scrolled} tabIndex={0} role="region" aria-label="Messages">
      <div className="turns" ref={inner} role="log" aria-live="off" aria-label="Messages">
        {before && <Earlier key={before.key} load={before.load} box={box} />}
        {!known && <Skeleton />}
        {shown.map((id) => <Turn key={id} stateId={id} />)}
        <ForkBelow />
      </div>
      {away && (
        <button type="button" className="newest" onClick={toEnd}>
          <ArrowDown aria-hidden="true" /> Newest
        </button>
      )}
    </div>
  );
}

type Before = { key: string; load: () => Promise<void> } | null;

/** The loaded states at the end of the way, and how to get those before. */
function visible(
  states: string[],
  loaded: ReadonlyMap<string, unknown>,
  cut: ReadonlyMap<string, string>,
): { shown: string[]; before: Before } {
  let index = states.length;
  while (index > 0 && !loaded.has(states[index - 1] as string)) index -= 1;
  for (; index > 0; index -= 1) {
    const id = states[index - 1] as string;
    if (!loaded.has(id)) return { shown: states.slice(index), before: { key: id, load: () => loadHistory(id) } };
    const cursor = cut.get(id);
    if (cursor) return { shown: states.slice(index - 1), before: { key: cursor, load: () => loadHistory(id, cursor) } };
  }
  return { shown: states, before: null };
}

/** Load the end of a way that is not here. */
function useMissing(states: string[], loaded: ReadonlyMap<string, unknown>): void {
  const head = states.at(-1);
  const missing = head !== undefined && !loaded.has(head) ? head : null;
  useEffect(() => {
    if (missing) loadHistory(missing).catch(complain);
  }, [missing]);
}

function useFollowing(first: string | undefined) {
  const box = useRef<HTMLDivElement>(null);
  const inner = useRef<HTMLDivElement>(null);
  const following = useRef(true);
  const top = useRef(0);
  const height = useRef(0);
  const [away, setAway] = useState(false);
  const head = useThread((state) => state.head);

  const toEnd = useCallback(() => {
    following.current = true;
    box.current?.scrollTo({ top: box.current.scrollHeight });
  }, []);

  const scrolled = useCallback(() => {
    const { scrollTop = 0, scrollHeight = 0, clientHeight = 0 } = box.current ?? {};
    const left = scrollHeight - scrollTop - clientHeight;
    if (left < NEAR) following.current = true;
    else if (scrollTop < top.current - 1) following.current = false;
    top.current = scrollTop;
    setAway(left > FAR && !following.current);
  }, []);

  useEffect(() => {
    const [outer, content] = [box.current, inner.current];
    if (!outer || !content) return undefined;
    const observer = new ResizeObserver(() => {
      if (following.current) outer.scrollTop = outer.scrollHeight;
      height.current = outer.scrollHeight;
      scrolled();
    });
    observer.observe(content);
    observer.observe(outer);
    return () => observer.disconnect();
  }, [scrolled]);

  // Another branch is shown: scroll to the target that came with it, if one did.
  useLayoutEffect(() => {
    const target = takeScrollTarget();
    const outer = box.current;
    if (!outer || !target) return;
    if (target === 'end') {
      toEnd();
      return;
    }
    const element = turnElement(target.state);
    if (!element) return;
    following.current = false;
    const wanted = target.top ?? outer.getBoundingClientRect().top + 24;
    outer.scrollTop += element.getBoundingClientRect().top - wanted;
    top.current = outer.scrollTop;
    if (target.top === null) {
      element.classList.remove('flash');
      requestAnimationFrame(() => element.classList.add('flash'));
      element.focus({ preventScroll: true });
    }
  }, [head, toEnd]);

  // What is put before the first message pushes nothing down; the browser itself sees to it but at the very top.
  useLayoutEffect(() => {
    const outer = box.current;
    if (outer && !following.current && outer.scrollTop < 1) outer.scrollTop += outer.scrollHeight - height.current;
  }, [first]);

  return { box, inner, away, toEnd, scrolled };
}

function Earlier({ load, box }: { load: () => Promise<void>; box: React.RefObject<HTMLDivElement | null> }) {
  const mark = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    const element = mark.current;
    if (!element) return undefined;
    let asked = false;
    const observer = new IntersectionObserver(
      ([entry]) => {
        if (!entry?.isIntersecting || asked) return;
        asked = true;
        load().catch(() => {
          asked = false;
        });
      },
      { root: box.current, rootMargin: '900px 0px 0px' },
    );
    observer.observe(element);
    return () => observer.disconnect();
  }, [load, box]);
  return (
    <button ref={mark} type="button" className="earlier" onClick={() => load().catch(complain)}>
      Earlier messages
    </button>
  );
}

function Skeleton() {
  return (
    <div className="skeleton" aria-hidden="true">
      <span /><span /><span />
    </div>
  );
}
