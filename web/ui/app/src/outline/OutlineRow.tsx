import type { Node } from '@branchline/client/thread/state';
import { isFromUser, nodeTitle } from '@branchline/client/thread/titles';
import type { Row } from '@branchline/client/thread/tree';
import { Star } from 'lucide-react';
import { memo } from 'react';
import { laneClass } from '../ui/lanes';
import { scaledToFont } from '../ui/scaledToFont';

export const ROW_HEIGHT = scaledToFont(30);
const LANE_WIDTH = 14;
const FIRST_LANE = 13;
/** Lanes further to the right are drawn at this one, so that titles have room. */
const DEEPEST_LANE = 12;

/** Pixels from the left at which a lane is drawn. */
const x = (lane: number) => FIRST_LANE + Math.min(lane, DEEPEST_LANE) * LANE_WIDTH;

/** What screen readers say for the status of a run. */
const STATUS: Record<string, string> = {
  queued: 'queued',
  running: 'running',
  waiting: 'waiting for your input',
  error: 'failed',
  timeout: 'timed out',
  cancelled: 'stopped',
};

export const OutlineRow = memo(function OutlineRow({ row, node, author, top, onPath, selected, focusable, dimmed, collapsed, onToggle, onChoose, onFocus }: {
  row: Row;
  node: Node;
  author: string;
  top: number;
  onPath: boolean;
  selected: boolean;
  focusable: boolean;
  dimmed: boolean;
  collapsed: boolean;
  onToggle: (id: string, collapse?: boolean) => void;
  onChoose: (id: string) => void;
  onFocus: (id: string) => void;
}) {
  const isUser = isFromUser(node);
  const title = nodeTitle(node);
  const status = node.runStatus ? STATUS[node.runStatus] : undefined;
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
      aria-expanded={row.continues ? true : collapsed ? false : undefined}
      aria-label={[author, title, status, node.starred && 'starred', row.hidden && `${row.hidden} hidden`].filter(Boolean).join(', ')}
      data-on-path={onPath || undefined}
      data-dim={dimmed || undefined}
      data-status={node.runStatus ?? undefined}
      onClick={() => onChoose(row.id)}
      onFocus={() => onFocus(row.id)}
    >
      <Lanes row={row} isUser={isUser} collapsed={collapsed} />
      <span className={isUser ? 'tree-title from-user' : 'tree-title'} dir="auto">
        {node.label ? <span className="label">{node.label}</span> : title}
      </span>
      {node.starred && <Star className="starred" aria-hidden="true" />}
      {(collapsed || row.forks) && (
        <button
          type="button"
          tabIndex={-1}
          className="collapse-button"
          aria-hidden="true"
          title={collapsed ? 'Expand' : 'Collapse'}
          onClick={(event) => {
            event.stopPropagation();
            onToggle(row.id);
          }}
        >
          {collapsed ? `+${row.hidden}` : '−'}
        </button>
      )}
    </div>
  );
});

/** The lines that pass a row, and its dot. */
const Lanes = memo(function Lanes({ row, isUser, collapsed }: { row: Row; isUser: boolean; collapsed: boolean }) {
  const { lane, passingLanes, parentLane, continues } = row;
  const middle = ROW_HEIGHT / 2;
  const at = x(lane);
  const width = x(Math.max(lane, 0)) + 12;
  const branchesOff = parentLane >= 0 && parentLane !== lane;
  return (
    <svg className="lanes" width={width} height={ROW_HEIGHT} aria-hidden="true">
      {passingLanes.map((other) => (
        <line key={other} className={laneClass(other)} x1={x(other)} x2={x(other)} y1={0} y2={ROW_HEIGHT} />
      ))}
      {parentLane >= 0 && !branchesOff && <line className={laneClass(lane)} x1={at} x2={at} y1={0} y2={middle} />}
      {branchesOff && (
        <path className={laneClass(lane)} d={`M${x(parentLane)} 0 C${x(parentLane)} ${middle * 0.8} ${at} ${middle * 0.2} ${at} ${middle}`} />
      )}
      {continues && <line className={laneClass(lane)} x1={at} x2={at} y1={middle} y2={ROW_HEIGHT} />}
      <circle className={`${laneClass(lane)} ${isUser ? 'dot-user' : 'dot'}${collapsed ? ' dot-collapsed' : ''}`} cx={at} cy={middle} r={isUser ? 3.5 : 4.5} />
    </svg>
  );
});
