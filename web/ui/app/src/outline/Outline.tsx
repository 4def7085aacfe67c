import type { Node } from '@branchline/client/thread/reducer';
import { nodeTitle } from '@branchline/client/thread/titles';
import { descend, matching, type Row, rows } from '@branchline/client/thread/tree';
import { useVirtualizer } from '@tanstack/react-virtual';
import { ChevronsDownUp, ChevronsUpDown, Search, Star, X } from 'lucide-react';
import { type KeyboardEvent, memo, useCallback, useDeferredValue, useEffect, useLayoutEffect, useMemo, useRef, useState } from 'react';
import { go } from '../navigation/go';
import { usePath, useThread } from '../stores/thread';
import { IconButton } from '../ui/Button';
import { laneClass } from '../ui/lanes';
import { scaled } from '../ui/size';

const HEIGHT = scaled(30);
const LANE = 14;
const FIRST = 13;
const DEEPEST = 12;

const NOTHING: ReadonlySet<string> = new Set();

/** The tree beside the chat: a row for each state, with lanes like those of a version control system. */
export function Outline({ onChosen, onClose }: { onChosen: () => void; onClose: () => void }) {
  const threadId = useThread((state) => state.data.threadId);
  const nodes = useThread((state) => state.data.nodes);
  const children = useThread((state) => state.data.children);
  const root = useThread((state) => state.data.thread?.root_state_id ?? null);
  const whole = useThread((state) => state.data.whole);
  const choices = useThread((state) => state.choices);
  const states = usePath();
  const [collapsed, setCollapsed] = useState<ReadonlySet<string>>(NOTHING);
  const [starredOnly, setStarredOnly] = useState(false);
  const [search, setSearch] = useState('');
  const wanted = useDeferredValue(search.trim());
  const hits = useMemo(() => (wanted ? matching(nodes, wanted) : null), [nodes, wanted]);
  const all = useMemo(() => rows(nodes, children, root, hits ? NOTHING : collapsed), [nodes, children, root, collapsed, hits]);
  const list = useMemo(() => {
    const kept = all.filter((row) => row.id !== root);
    if (starredOnly) return kept.filter(({ id }) => nodes.get(id)?.starred || nodes.get(id)?.label);
    return hits ? kept.filter(({ id }) => hits.shown.has(id)) : kept;
  }, [all, hits, starredOnly, nodes, root]);
  const onWay = useMemo(() => new Set(states), [states]);
  const head = states.at(-1) ?? null;

  const toggle = useCallback((id: string, shut?: boolean) => {
    setCollapsed((before) => {
      const next = new Set(before);
      if (shut ?? !next.has(id)) next.add(id);
      else next.delete(id);
      return next;
    });
  }, []);
  const choose = useCallback(
    (id: string) => {
      const way = onWay.has(id) && head ? head : descend(children, choices, id);
      go(threadId, way, { at: id });
      onChosen();
    },
    [children, choices, threadId, onChosen, onWay, head],
  );
  const others = useMemo(() => {
    const beside = [...children.values()].filter((below) => below.length > 1).flat();
    return new Set(beside.filter((id) => !onWay.has(id) && children.get(id)?.length));
  }, [children, onWay]);

  return (
    <aside className="outline" aria-label="Outline of the tree">
      <header className="outline-head">
        <h2>Outline</h2>
        <span className="count">{Math.max(0, nodes.size - 1)}{whole ? '' : ' …'}</span>
        <span className="grow" />
        <IconButton label={starredOnly ? 'Show all' : 'Show what is starred or named'} icon={Star} aria-pressed={starredOnly} onClick={() => setStarredOnly(!starredOnly)} />
        <IconButton
          label={collapsed.size ? 'Unfold all' : 'Fold the other branches'}
          icon={collapsed.size ? ChevronsUpDown : ChevronsDownUp}
          disabled={!collapsed.size && !(whole && others.size)}
          onClick={() => setCollapsed(collapsed.size ? NOTHING : others)}
        />
        <IconButton label="Hide the outline" icon={X} onClick={onClose} />
      </header>
      <label className="search">
        <Search aria-hidden="true" />
        <span className="unseen">Search the tree</span>
        <input
          type="search"
          placeholder="Search the tree"
          value={search}
          onChange={(event) => setSearch(event.target.value)}
          onKeyDown={(event) => {
            if (event.key === 'Escape') setSearch('');
            const first = [...(hits?.found ?? [])][0];
            if (event.key === 'Enter' && first) choose(first);
          }}
        />
        {search && <button type="button" aria-label="Clear the search" onClick={() => setSearch('')}><X aria-hidden="true" /></button>}
      </label>
      {list.length ? (
        <Tree list={list} nodes={nodes} onWay={onWay} head={head} found={hits?.found ?? null} collapsed={collapsed} onToggle={toggle} onChoose={choose} />
      ) : (
        <p className="empty-list">
          {hits ? 'Nothing here says that.' : starredOnly ? 'Star or name a message, and find it here again.' : 'The tree grows here as you talk. Edit a question or ask again, and it forks.'}
        </p>
      )}
    </aside>
  );
}

interface TreeProps {
  list: Row[];
  nodes: ReadonlyMap<string, Node>;
  onWay: ReadonlySet<string>;
  head: string | null;
  found: ReadonlySet<string> | null;
  collapsed: ReadonlySet<string>;
  onToggle: (id: string, shut?: boolean) => void;
  onChoose: (id: string) => void;
}

function Tree({ list, nodes, onWay, head, found, collapsed, onToggle, onChoose }: TreeProps) {
  const box = useRef<HTMLDivElement>(null);
  const index = useMemo(() => new Map(list.map((row, place) => [row.id, place])), [list]);
  const [active, setActive] = useState<string | null>(null);
  const focusWanted = useRef(false);
  const typed = useRef({ text: '', at: 0 });
  const current = active && index.has(active) ? active : head && index.has(head) ? head : (list[0]?.id ?? null);
  const virtual = useVirtualizer({
    count: list.length,
    getScrollElement: () => box.current,
    estimateSize: () => HEIGHT,
    getItemKey: (place) => list[place]?.id ?? place,
    overscan: 10,
  });
  useKeptInPlace(box, list, index);

  // What is shown in the chat comes into sight here, once it is chosen there.
  const place = head === null ? undefined : index.get(head);
  const known = place !== undefined;
  useEffect(() => {
    if (place !== undefined) virtual.scrollToIndex(place, { align: 'auto' });
  }, [head, known]);
  useEffect(() => setActive(null), [head]);

  useLayoutEffect(() => {
    if (!focusWanted.current || !current) return;
    const element = box.current?.querySelector<HTMLElement>(`[data-row="${current}"]`);
    if (element) {
      focusWanted.current = false;
      element.focus({ preventScroll: true });
    }
  });

  const to = (next: number) => {
    const row = list[Math.max(0, Math.min(list.length - 1, next))];
    if (!row) return;
    focusWanted.current = true;
    setActive(row.id);
    virtual.scrollToIndex(index.get(row.id) ?? 0, { align: 'auto' });
  };
  const onKey = (event: KeyboardEvent) => {
    if (!current || event.ctrlKey || event.metaKey || event.altKey) return;
    const at = index.get(current) ?? 0;
    const row = list[at] as Row;
    const node = nodes.get(current);
    const page = Math.max(1, Math.floor((box.current?.clientHeight ?? 0) / HEIGHT) - 1);
    const keys: Record<string, () => void> = {
      ArrowDown: () => to(at + 1),
      ArrowUp: () => to(at - 1),
      PageDown: () => to(at + page),
      PageUp: () => to(at - page),
      Home: () => to(0),
      End: () => to(list.length - 1),
      Enter: () => onChoose(current),
      ' ': () => onChoose(current),
      ArrowRight: () => (collapsed.has(current) ? onToggle(current, false) : row.goesOn && to(at + 1)),
      ArrowLeft: () => {
        if (row.forks && !collapsed.has(current)) onToggle(current, true);
        else if (node?.parentId && index.has(node.parentId)) to(index.get(node.parentId) ?? 0);
      },
    };
    const act = keys[event.key];
    if (act) {
      event.preventDefault();
      event.stopPropagation();
      act();
    } else if (event.key.length === 1 && /\S/.test(event.key) && !'?[]'.includes(event.key)) {
      event.stopPropagation();
      const now = Date.now();
      typed.current = { text: (now - typed.current.at < 800 ? typed.current.text : '') + event.key.toLowerCase(), at: now };
      const start = typed.current.text.length > 1 ? at : at + 1;
      for (let step = 0; step < list.length; step += 1) {
        const other = list[(start + step) % list.length] as Row;
        const words = nodes.get(other.id);
        if (words && nodeTitle(words).toLowerCase().startsWith(typed.current.text)) {
          to(index.get(other.id) ?? 0);
          break;
        }
      }
    }
  };

  return (
    <div className="tree" ref={box} tabIndex={-1}>
      <div role="tree" aria-label="States of the thread" className="tree-rows" style={{ height: virtual.getTotalSize() }} onKeyDown={onKey}>
        {virtual.getVirtualItems().map((item) => {
          const row = list[item.index] as Row;
          const node = nodes.get(row.id);
          return (
            node && (
              <TreeRow
                key={row.id}
                row={row}
                node={node}
                top={item.start}
                onWay={onWay.has(row.id)}
                selected={row.id === head}
                focusable={row.id === current}
                found={!found || found.has(row.id)}
                shut={collapsed.has(row.id)}
                onToggle={onToggle}
                onChoose={onChoose}
                onFocus={setActive}
              />
            )
          );
        })}
      </div>
    </div>
  );
}

/** Rows that are put in above what is seen push nothing down. */
function useKeptInPlace(box: React.RefObject<HTMLDivElement | null>, list: Row[], index: ReadonlyMap<string, number>): void {
  const before = useRef({ list, index });
  useLayoutEffect(() => {
    const { list: old } = before.current;
    const element = box.current;
    if (element && old !== list) {
      const top = old[Math.floor(element.scrollTop / HEIGHT)];
      const was = top ? before.current.index.get(top.id) : undefined;
      const is = top ? index.get(top.id) : undefined;
      if (was !== undefined && is !== undefined && was !== is) element.scrollTop += (is - was) * HEIGHT;
    }
    before.current = { list, index };
  }, [box, list, index]);
}

const x = (lane: number) => FIRST + Math.min(lane, DEEPEST) * LANE;

const STATUS: Record<string, string> = {
  queued: 'waiting to start',
  running: 'answering',
  waiting: 'asks you something',
  error: 'failed',
  timeout: 'took too long',
  cancelled: 'stopped',
};

const TreeRow = memo(function TreeRow({ row, node, top, onWay, selected, focusable, found, shut, onToggle, onChoose, onFocus }: {
  row: Row;
  node: Node;
  top: number;
  onWay: boolean;
  selected: boolean;
  focusable: boolean;
  found: boolean;
  shut: boolean;
  onToggle: (id: string, shut?: boolean) => void;
  onChoose: (id: string) => void;
  onFocus: (id: string) => void;
}) {
  const mine = !node.runId;
  const words = nodeTitle(node);
  const status = node.runStatus ? STATUS[node.runStatus] : undefined;
  const who = mine ? 'You' : node.author && node.author !== 'assistant' ? node.author : (node.workerId ?? 'Answer');
  return (
    <div
      role="treeitem"
      data-row={row.id}
      className="tree-row"
      style={{ transform: `translateY(${top}px)` }}
      tabIndex={focusable ? 0 : -1}
      aria-level={row.level}
      aria-posinset={row.position}
      aria-setsize={row.siblings}
      aria-selected={selected}
      aria-expanded={row.goesOn ? true : shut ? false : undefined}
      aria-label={[who, words, status, node.starred && 'starred', row.hidden && `${row.hidden} folded`].filter(Boolean).join(', ')}
      data-way={onWay || undefined}
      data-dim={!found || undefined}
      data-status={node.runStatus ?? undefined}
      onClick={() => onChoose(row.id)}
      onFocus={() => onFocus(row.id)}
    >
      <Lanes row={row} mine={mine} shut={shut} />
      <span className={mine ? 'tree-words mine' : 'tree-words'}>
        {node.label ? <span className="label">{node.label}</span> : words}
      </span>
      {node.starred && <Star className="starred" aria-hidden="true" />}
      {(shut || row.forks) && (
        <button
          type="button"
          tabIndex={-1}
          className="fold-button"
          aria-hidden="true"
          title={shut ? 'Unfold' : 'Fold'}
          onClick={(event) => {
            event.stopPropagation();
            onToggle(row.id);
          }}
        >
          {shut ? `+${row.hidden}` : '−'}
        </button>
      )}
    </div>
  );
});

const Lanes = memo(function Lanes({ row, mine, shut }: { row: Row; mine: boolean; shut: boolean }) {
  const { lane, passing, from, goesOn } = row;
  const middle = HEIGHT / 2;
  const at = x(lane);
  const width = x(Math.max(lane, 0)) + 12;
  const branchesOff = from >= 0 && from !== lane;
  return (
    <svg className="lanes" width={width} height={HEIGHT} aria-hidden="true">
      {passing.map((other) => (
        <line key={other} className={laneClass(other)} x1={x(other)} x2={x(other)} y1={0} y2={HEIGHT} />
      ))}
      {from >= 0 && !branchesOff && <line className={laneClass(lane)} x1={at} x2={at} y1={0} y2={middle} />}
      {branchesOff && (
        <path className={laneClass(lane)} d={`M${x(from)} 0 C${x(from)} ${middle * 0.8} ${at} ${middle * 0.2} ${at} ${middle}`} />
      )}
      {goesOn && <line className={laneClass(lane)} x1={at} x2={at} y1={middle} y2={HEIGHT} />}
      <circle className={`${laneClass(lane)} ${mine ? 'dot-mine' : 'dot'}${shut ? ' dot-shut' : ''}`} cx={at} cy={middle} r={mine ? 3.5 : 4.5} />
    </svg>
  );
});
