import '@xyflow/react/dist/base.css';
import './map.css';
import { type Node as FlowNode, type NodeProps, ReactFlow, ReactFlowProvider, type Viewport, useReactFlow } from '@xyflow/react';
import { LocateFixed, Maximize, MessageSquare, Star, ZoomIn, ZoomOut } from 'lucide-react';
import { type KeyboardEvent, memo, useEffect, useLayoutEffect, useMemo, useRef, useState } from 'react';
import { type Node } from '@branchline/client/thread/state';
import { useThread } from '../stores/thread';
import { leafBelow, outlineRows } from '@branchline/client/thread/tree';
import { useWorkerName } from '../stores/workers';
import { Button, IconButton } from '../ui/Button';
import { NODE_HEIGHT, type PlacedNode, NODE_WIDTH, layout } from './layout';
import { LEGIBLE, MapCanvas } from './MapCanvas';
import { openBranch } from '../navigation/openBranch';
import { threadPath, navigate } from '../navigation/routes';
import { usePath } from '../stores/thread';
import { laneClass } from '../ui/lanes';
import { isFromUser, nodeAuthor, nodeTitle } from '@branchline/client/thread/titles';

type StateNode = FlowNode<{ node: Node; author: string; lane: number; onPath: boolean; selected: boolean }, 'state'>;

export default function MapView() {
  return (
    <ReactFlowProvider>
      <MapOfStates />
    </ReactFlowProvider>
  );
}

/** The whole tree as a map. The outline shows the same tree to screen readers. */
function MapOfStates() {
  const threadId = useThread((state) => state.data.threadId);
  const nodes = useThread((state) => state.data.nodes);
  const children = useThread((state) => state.data.children);
  const choices = useThread((state) => state.choices);
  const root = useThread((state) => state.data.thread?.root_state_id ?? null);
  const head = useThread((state) => state.head);
  const path = usePath();
  const shape = useShape(children, nodes.size);
  const { placed, byId } = useMemo(() => layout(nodes, children, root), [shape, root]);
  const lanes = useMemo(() => new Map(outlineRows(nodes, children, root, new Set()).map((row) => [row.id, row.lane])), [shape, root]);
  const onPath = useMemo(() => new Set(path), [path]);
  const workerName = useWorkerName();
  const box = useRef<HTMLDivElement>(null);
  const size = useSize(box);
  const [viewport, setViewport] = useState<Viewport>({ x: 0, y: 0, zoom: 1 });
  const flow = useReactFlow();

  const shown = useMemo(() => {
    if (viewport.zoom < LEGIBLE) return [];
    const [left, top] = [-viewport.x / viewport.zoom, -viewport.y / viewport.zoom];
    const [right, bottom] = [left + size.width / viewport.zoom, top + size.height / viewport.zoom];
    return placed.filter(({ x, y }) => x > left - NODE_WIDTH && x < right + NODE_WIDTH && y > top - NODE_HEIGHT * 2 && y < bottom + NODE_HEIGHT * 2);
  }, [placed, viewport, size]);
  const drawn = useMemo(
    () =>
      shown.flatMap(({ id, x, y }): StateNode[] => {
        const node = nodes.get(id);
        if (!node) return [];
        const data = { node, author: nodeAuthor(node, workerName), lane: lanes.get(id) ?? 0, onPath: onPath.has(id), selected: id === head };
        return [{ id, type: 'state', position: { x: x - NODE_WIDTH / 2, y: y - NODE_HEIGHT / 2 }, data, width: NODE_WIDTH, height: NODE_HEIGHT, focusable: false }];
      }),
    [shown, nodes, lanes, onPath, head, workerName],
  );

  const centerOn = (id: string | null, zoom = Math.max(0.8, flow.getZoom())) => {
    const position = id ? byId.get(id) : undefined;
    if (position) void flow.setCenter(position.x, position.y, { zoom, duration: 0 });
  };
  const treeLoaded = useThread((state) => state.data.treeLoaded);
  /** What to show until the whole tree is known; `own`: where somebody has moved it, or what is shown since then. */
  const view = useRef<'all' | 'selection' | 'own'>('all');
  useLayoutEffect(() => {
    if (view.current === 'own' || !placed.length || !size.width) return;
    if (view.current === 'all') fitAll(placed, size, flow.setViewport);
    else centerOn(head, 1);
    if (treeLoaded) view.current = 'own';
  }, [treeLoaded, placed, size, flow]);
  const center = () => {
    if (view.current === 'all') view.current = 'selection';
    centerOn(head, 1);
  };
  const moved = () => {
    view.current = 'own';
  };
  const zoom = (change: () => unknown) => {
    moved();
    change();
  };
  const select = (id: string | undefined | null) => {
    if (!id || !nodes.has(id)) return;
    moved();
    navigate(threadPath(threadId, id, 'map'), { replace: true });
    const position = byId.get(id);
    if (!position) return;
    const [x, y] = [position.x * viewport.zoom + viewport.x, position.y * viewport.zoom + viewport.y];
    if (x < 80 || y < 60 || x > size.width - 80 || y > size.height - 120) centerOn(id, viewport.zoom);
  };
  const open = () => head && openBranch(threadId, leafBelow(children, choices, head), { at: head });
  const onKey = (event: KeyboardEvent) => {
    if (!head || event.target instanceof HTMLButtonElement) return;
    const parent = nodes.get(head)?.parentId ?? null;
    const siblings = (parent && children.get(parent)) || [];
    const at = siblings.indexOf(head);
    const below = children.get(head) ?? [];
    const steps: Record<string, () => void> = {
      ArrowUp: () => select(parent),
      ArrowDown: () => select(choices[head] && below.includes(choices[head] as string) ? choices[head] : below.at(-1)),
      ArrowLeft: () => select(siblings[at - 1]),
      ArrowRight: () => select(siblings[at + 1]),
      Enter: open,
      '+': () => zoom(flow.zoomIn),
      '-': () => zoom(flow.zoomOut),
    };
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    step();
  };
  const selected = head ? nodes.get(head) : undefined;
  return (
    <section className="map" aria-label="Map" onKeyDown={onKey}>
      <div className="map-box" ref={box} tabIndex={0} role="application" aria-label="Map. Use the arrow keys to move through the tree and Enter to open the chat. The outline in the chat shows the same tree as a list.">
        <MapCanvas placed={placed} lanes={lanes} onPath={onPath} viewport={viewport} size={size} nodes={nodes} />
        <ReactFlow
          nodes={drawn}
          edges={[]}
          nodeTypes={NODE_TYPES}
          onViewportChange={setViewport}
          onMoveStart={(event) => event && moved()}
          onNodeClick={(_, node) => select(node.id)}
          onNodeDoubleClick={(_, node) => openBranch(threadId, leafBelow(children, choices, node.id), { at: node.id })}
          nodesDraggable={false}
          nodesConnectable={false}
          elementsSelectable={false}
          nodesFocusable={false}
          disableKeyboardA11y
          zoomOnDoubleClick={false}
          panOnScroll
          minZoom={SMALLEST}
          maxZoom={1.6}
          proOptions={{ hideAttribution: true }}
        />
      </div>
      <div className="map-tools" role="group" aria-label="Zoom">
        <IconButton label="Zoom in" icon={ZoomIn} onClick={() => zoom(flow.zoomIn)} />
        <IconButton label="Zoom out" icon={ZoomOut} onClick={() => zoom(flow.zoomOut)} />
        <IconButton label="Fit to screen" icon={Maximize} onClick={() => fitAll(placed, size, flow.setViewport)} />
        <IconButton label="Center selection" icon={LocateFixed} onClick={center} />
      </div>
      {selected && (
        <div className="map-selected" role="status">
          <p dir="auto">{nodeTitle(selected)}</p>
          <Button look="main" icon={MessageSquare} onClick={open}>Open in chat</Button>
        </div>
      )}
    </section>
  );
}

/** The smallest zoom: a line of 50,000 states fits on a screen. */
const SMALLEST = 0.0002;

/** A value that changes when states are added, and not with each delta of a message. */
function useShape(children: ReadonlyMap<string, readonly string[]>, count: number): unknown {
  const last = useRef({ children, count });
  if (last.current.children !== children || last.current.count !== count) last.current = { children, count };
  return last.current;
}

function useSize(box: React.RefObject<HTMLDivElement | null>) {
  const [size, setSize] = useState({ width: 0, height: 0 });
  useEffect(() => {
    const element = box.current;
    if (!element) return undefined;
    const observer = new ResizeObserver(() => setSize({ width: element.clientWidth, height: element.clientHeight }));
    observer.observe(element);
    return () => observer.disconnect();
  }, [box]);
  return size;
}

function fitAll(placed: PlacedNode[], size: { width: number; height: number }, set: (viewport: Viewport) => unknown): void {
  if (!placed.length) return;
  const xs = placed.map(({ x }) => x);
  const ys = placed.map(({ y }) => y);
  const [left, right] = [xs.reduce((a, b) => Math.min(a, b)) - NODE_WIDTH, xs.reduce((a, b) => Math.max(a, b)) + NODE_WIDTH];
  const [top, bottom] = [ys.reduce((a, b) => Math.min(a, b)) - NODE_HEIGHT, ys.reduce((a, b) => Math.max(a, b)) + NODE_HEIGHT * 3];
  const zoom = Math.max(SMALLEST, Math.min(1, size.width / (right - left), size.height / (bottom - top)));
  set({ zoom, x: size.width / 2 - ((left + right) / 2) * zoom, y: size.height / 2 - ((top + bottom) / 2) * zoom });
}

const StateView = memo(function StateView({ data: { node, author, lane, onPath, selected } }: NodeProps<StateNode>) {
  const isUser = isFromUser(node);
  return (
    <div className={`map-node ${laneClass(lane)}${isUser ? ' from-user' : ''}`} data-on-path={onPath || undefined} data-selected={selected || undefined} data-status={node.runStatus ?? undefined}>
      <small>{node.parentId === null ? 'Start' : author}{node.starred && <Star className="starred" aria-label="Starred" />}</small>
      <span dir="auto">{node.parentId === null ? 'of the thread' : nodeTitle(node)}</span>
    </div>
  );
});

const NODE_TYPES = { state: StateView };
