import type { Node } from '@branchline/client/thread/state';
import { nodeAuthor, nodeTitle } from '@branchline/client/thread/titles';
import type { Row } from '@branchline/client/thread/tree';
import { useVirtualizer } from '@tanstack/react-virtual';
import { type KeyboardEvent, type RefObject, useEffect, useLayoutEffect, useMemo, useRef, useState } from 'react';
import { useWorkerName } from '../stores/workers';
import { OutlineRow, ROW_HEIGHT } from './OutlineRow';

/** Milliseconds between two letters that are searched for together. */
const TYPING_PAUSE = 800;

interface OutlineTreeProps {
  list: Row[];
  nodes: ReadonlyMap<string, Node>;
  onPath: ReadonlySet<string>;
  head: string | null;
  /** The states that a search found; null where nothing is searched. */
  matches: ReadonlySet<string> | null;
  collapsed: ReadonlySet<string>;
  onToggle: (id: string, collapse?: boolean) => void;
  onChoose: (id: string) => void;
}

/** The rows, of which only those in sight are drawn, and the keys that a tree view has. */
export function OutlineTree({ list, nodes, onPath, head, matches, collapsed, onToggle, onChoose }: OutlineTreeProps) {
  const box = useRef<HTMLDivElement>(null);
  const workerName = useWorkerName();
  const index = useMemo(() => new Map(list.map((row, position) => [row.id, position])), [list]);
  const [active, setActive] = useState<string | null>(null);
  const moveFocus = useRef(false);
  const typed = useRef({ text: '', at: 0 });
  const current = active && index.has(active) ? active : head && index.has(head) ? head : (list[0]?.id ?? null);
  const virtual = useVirtualizer({
    count: list.length,
    getScrollElement: () => box.current,
    estimateSize: () => ROW_HEIGHT,
    getItemKey: (position) => list[position]?.id ?? position,
    overscan: 10,
  });
  useStableScroll(box, list, index);

  // Scroll to the state that is shown in the chat when another one is, and when its row arrives. When
  // other rows arrive its position changes too, but nothing scrolls.
  const position = head === null ? undefined : index.get(head);
  const isListed = position !== undefined;
  useEffect(() => {
    if (position !== undefined) virtual.scrollToIndex(position, { align: 'auto' });
  }, [head, isListed]);
  useEffect(() => setActive(null), [head]);

  useLayoutEffect(() => {
    if (!moveFocus.current || !current) return;
    const element = box.current?.querySelector<HTMLElement>(`[data-row="${current}"]`);
    if (element) {
      moveFocus.current = false;
      element.focus({ preventScroll: true });
    }
  });

  const moveTo = (next: number) => {
    const row = list[Math.max(0, Math.min(list.length - 1, next))];
    if (!row) return;
    moveFocus.current = true;
    setActive(row.id);
    virtual.scrollToIndex(index.get(row.id) ?? 0, { align: 'auto' });
  };
  const onKey = (event: KeyboardEvent) => {
    if (!current || event.ctrlKey || event.metaKey || event.altKey) return;
    const at = index.get(current) ?? 0;
    const row = list[at] as Row;
    const node = nodes.get(current);
    const page = Math.max(1, Math.floor((box.current?.clientHeight ?? 0) / ROW_HEIGHT) - 1);
    const keys: Record<string, () => void> = {
      ArrowDown: () => moveTo(at + 1),
      ArrowUp: () => moveTo(at - 1),
      PageDown: () => moveTo(at + page),
      PageUp: () => moveTo(at - page),
      Home: () => moveTo(0),
      End: () => moveTo(list.length - 1),
      Enter: () => onChoose(current),
      ' ': () => onChoose(current),
      ArrowRight: () => (collapsed.has(current) ? onToggle(current, false) : row.continues && moveTo(at + 1)),
      ArrowLeft: () => {
        if (row.forks && !collapsed.has(current)) onToggle(current, true);
        else if (node?.parentId && index.has(node.parentId)) moveTo(index.get(node.parentId) ?? 0);
      },
    };
    const act = keys[event.key];
    if (act) {
      event.preventDefault();
      event.stopPropagation();
      act();
    } else if (event.key.length === 1 && /\S/.test(event.key)) {
      event.stopPropagation();
      const now = Date.now();
      typed.current = { text: (now - typed.current.at < TYPING_PAUSE ? typed.current.text : '') + event.key.toLowerCase(), at: now };
      const start = typed.current.text.length > 1 ? at : at + 1;
      for (let step = 0; step < list.length; step += 1) {
        const other = list[(start + step) % list.length] as Row;
        const otherNode = nodes.get(other.id);
        if (otherNode && nodeTitle(otherNode).toLowerCase().startsWith(typed.current.text)) {
          moveTo(index.get(other.id) ?? 0);
          break;
        }
      }
    }
  };

  return (
    <div className="tree" ref={box} tabIndex={-1}>
      <div role="tree" aria-label="Messages of the thread" className="tree-rows" style={{ height: virtual.getTotalSize() }} onKeyDown={onKey}>
        {virtual.getVirtualItems().map((item) => {
          const row = list[item.index] as Row;
          const node = nodes.get(row.id);
          return (
            node && (
              <OutlineRow
                key={row.id}
                row={row}
                node={node}
                author={nodeAuthor(node, workerName)}
                top={item.start}
                onPath={onPath.has(row.id)}
                selected={row.id === head}
                focusable={row.id === current}
                dimmed={!!matches && !matches.has(row.id)}
                collapsed={collapsed.has(row.id)}
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

/** Keep the row at the upper edge where it is when rows are added or removed above it. */
function useStableScroll(box: RefObject<HTMLDivElement | null>, list: Row[], index: ReadonlyMap<string, number>): void {
  const before = useRef({ list, index });
  useLayoutEffect(() => {
    const { list: old } = before.current;
    const element = box.current;
    if (element && old !== list) {
      const top = old[Math.floor(element.scrollTop / ROW_HEIGHT)];
      const was = top ? before.current.index.get(top.id) : undefined;
      const is = top ? index.get(top.id) : undefined;
      if (was !== undefined && is !== undefined && was !== is) element.scrollTop += (is - was) * ROW_HEIGHT;
    }
    before.current = { list, index };
  }, [box, list, index]);
}
