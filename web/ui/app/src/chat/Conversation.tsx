import { loadHistory } from '@branchline/client/thread/store';
import { ArrowDown } from 'lucide-react';
import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from 'react';
import { AtOnce } from '../markdown/useRange';
import { setScrollTarget, turnElement, useScrollTarget } from '../navigation/openBranch';
import { usePath, useThread } from '../stores/thread';
import { markWords } from '../ui/markWords';
import { notifyError } from '../ui/notifications';
import { ForkBelow } from './ForkBelow';
import { Turn } from './Turn';

/** Pixels from the end within which new text is followed. */
const NEAR_END = 32;
/** Pixels from the end beyond which a button to get back there is shown. */
const FAR_FROM_END = 240;

/**
 * The messages on the path from the root to the head. The last ones are loaded first, and earlier ones
 * when they are scrolled to. New text is followed only while the end is in sight.
 */
export function Conversation() {
  const path = usePath();
  const loaded = useThread((state) => state.data.messages);
  const olderCursors = useThread((state) => state.data.olderCursors);
  const known = useThread((state) => !!state.data.cursor);
  const { shown, older } = useMemo(() => visible(path, loaded, olderCursors), [path, loaded, olderCursors]);
  const { box, inner, isAway, scrollToEnd, onScroll } = useScrolling(shown);
  useHeadMessages(path, loaded);

  return (
    <div className="conversation" ref={box} onScroll={onScroll} tabIndex={0} role="region" aria-label="Messages">
      <div className="turns" ref={inner} role="log" aria-live="off" aria-label="Messages">
        {older && <LoadOlder key={older.key} load={older.load} box={box} />}
        {!known && <Skeleton />}
        <AtOnce value="end">{shown.map((id) => <Turn key={id} stateId={id} />)}</AtOnce>
        <ForkBelow />
      </div>
      {isAway && (
        <button type="button" className="scroll-to-end" onClick={scrollToEnd}>
          <ArrowDown aria-hidden="true" /> Jump to latest
        </button>
      )}
    </div>
  );
}

type Older = { key: string; load: () => Promise<void> } | null;

/** The loaded states at the end of the path, and how to load those before them. */
function visible(
  path: string[],
  loaded: ReadonlyMap<string, unknown>,
  olderCursors: ReadonlyMap<string, string>,
): { shown: string[]; older: Older } {
  let index = path.length;
  while (index > 0 && !loaded.has(path[index - 1] as string)) index -= 1;
  for (; index > 0; index -= 1) {
    const id = path[index - 1] as string;
    if (!loaded.has(id)) return { shown: path.slice(index), older: { key: id, load: () => loadHistory(id) } };
    const cursor = olderCursors.get(id);
    if (cursor) return { shown: path.slice(index - 1), older: { key: cursor, load: () => loadHistory(id, cursor) } };
  }
  return { shown: path, older: null };
}

/** Load the messages of the head if they are not known, as after switching to another branch. */
function useHeadMessages(path: string[], loaded: ReadonlyMap<string, unknown>): void {
  const head = path.at(-1);
  const missing = head !== undefined && !loaded.has(head) ? head : null;
  useEffect(() => {
    if (missing) loadHistory(missing).catch(notifyError);
  }, [missing]);
}

/** Scrolling: follow the end, keep the position when messages are added above, and go to a target. */
function useScrolling(shown: readonly string[]) {
  const box = useRef<HTMLDivElement>(null);
  const inner = useRef<HTMLDivElement>(null);
  const following = useRef(true);
  const top = useRef(0);
  const height = useRef(0);
  const [isAway, setIsAway] = useState(false);
  const head = useThread((state) => state.head);

  const scrollToEnd = useCallback(() => {
    following.current = true;
    box.current?.scrollTo({ top: box.current.scrollHeight });
  }, []);

  const onScroll = useCallback(() => {
    const { scrollTop = 0, scrollHeight = 0, clientHeight = 0 } = box.current ?? {};
    const left = scrollHeight - scrollTop - clientHeight;
    if (left < NEAR_END) following.current = true;
    else if (scrollTop < top.current - 1) following.current = false;
    top.current = scrollTop;
    setIsAway(left > FAR_FROM_END && !following.current);
  }, []);

  useEffect(() => {
    const [outer, content] = [box.current, inner.current];
    if (!outer || !content) return undefined;
    const observer = new ResizeObserver(() => {
      if (following.current) outer.scrollTop = outer.scrollHeight;
      height.current = outer.scrollHeight;
      onScroll();
    });
    observer.observe(content);
    observer.observe(outer);
    return () => observer.disconnect();
  }, [onScroll]);

  // Scroll to the target, once its branch is shown and its state is rendered.
  const target = useScrollTarget((state) => state.target);
  useLayoutEffect(() => {
    const outer = box.current;
    if (!outer || !target || target.head !== head) return;
    if (!target.state) {
      setScrollTarget(null);
      scrollToEnd();
      return;
    }
    const element = turnElement(target.state);
    if (!element) return;
    setScrollTarget(null);
    following.current = false;
    // Out of sight a message has a guessed height, beyond which nothing could be scrolled to.
    element.style.contentVisibility = 'visible';
    const first = markWords(element, target.words);
    first?.startContainer.parentElement?.closest('details')?.setAttribute('open', '');
    const above = outer.getBoundingClientRect().top + 24;
    outer.scrollTop += element.getBoundingClientRect().top - (target.top ?? above);
    // In a long message the words may be further down.
    const below = first ? first.getBoundingClientRect().bottom - outer.getBoundingClientRect().bottom : 0;
    if (below > 0) outer.scrollTop += below + outer.clientHeight / 2;
    top.current = outer.scrollTop;
    if (target.top === null) {
      element.classList.remove('flash');
      requestAnimationFrame(() => element.classList.add('flash'));
      element.focus({ preventScroll: true });
    }
  }, [head, target, shown, scrollToEnd]);

  // Messages that are added above do not move what is shown. The browser's scroll anchoring sees to that
  // everywhere but at the very top.
  useLayoutEffect(() => {
    const outer = box.current;
    if (outer && !following.current && outer.scrollTop < 1) outer.scrollTop += outer.scrollHeight - height.current;
  }, [shown[0]]);

  return { box, inner, isAway, scrollToEnd, onScroll };
}

/** Loads older messages when it comes into sight, or when it is pressed. */
function LoadOlder({ load, box }: { load: () => Promise<void>; box: React.RefObject<HTMLDivElement | null> }) {
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    const element = button.current;
    if (!element) return undefined;
    let requested = false;
    const observer = new IntersectionObserver(
      ([entry]) => {
        if (!entry?.isIntersecting || requested) return;
        requested = true;
        load().catch(() => {
          requested = false;
        });
      },
      { root: box.current, rootMargin: '900px 0px 0px' },
    );
    observer.observe(element);
    return () => observer.disconnect();
  }, [load, box]);
  return (
    <button ref={button} type="button" className="load-older" onClick={() => load().catch(notifyError)}>
      Load earlier messages
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
