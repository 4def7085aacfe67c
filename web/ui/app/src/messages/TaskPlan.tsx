import { useId, useMemo } from 'react';
import { edge, HEIGHT, hoursText, layout, type Plan, WIDTH } from './tasks';

/** A plan: its tasks as a list, and what depends on what as a picture. */
export function TaskPlan({ plan }: { plan: Plan }) {
  const { tasks, chain } = plan;
  return (
    <div className="plan">
      {plan.summary && <p dir="auto">{plan.summary}</p>}
      <ol className="plan-tasks" aria-label="Tasks">
        {tasks.map((task) => (
          <li key={task.id} data-chain={chain.has(task.id) || undefined}>
            <p className="plan-head">
              <span className="plan-id">{task.id}</span>
              <strong dir="auto">{task.title}</strong>
              <span className="plan-hours">{hoursText(task.hours)}</span>
            </p>
            {task.description && <p className="plan-text" dir="auto">{task.description}</p>}
            {task.after.length > 0 && <p className="plan-after">After {task.after.join(', ')}</p>}
          </li>
        ))}
      </ol>
      {tasks.length > 1 && <Graph plan={plan} />}
      <p className="plan-after">
        {hoursText(plan.totalHours)} in all{chain.size > 1 && <>; {hoursText(plan.chainHours)} one after the other: {[...chain].join(' → ')}</>}
      </p>
    </div>
  );
}

/** What depends on what. The list says the same, to those who see no picture as well. */
function Graph({ plan: { tasks, chain } }: { plan: Plan }) {
  const { placed, width, height } = useMemo(() => layout(tasks), [tasks]);
  const arrow = useId();
  const places = new Map(placed.map((one) => [one.task.id, one]));
  const edges = placed
    .flatMap((to) => to.task.after.map((id) => ({ from: places.get(id), to, inChain: chain.has(id) && chain.has(to.task.id) })))
    // Those of the chain are above the others.
    .toSorted((one, other) => Number(one.inChain) - Number(other.inChain));
  return (
    <div className="plan-graph" tabIndex={0} role="group" aria-label="What depends on what">
      <svg role="img" aria-label="The tasks, each below those that are done before it" viewBox={`-1 -1 ${width + 2} ${height + 2}`} width={width + 2} height={height + 2}>
        {[false, true].map((inChain) => (
          <marker key={String(inChain)} id={arrow + inChain} className="plan-arrow" data-chain={inChain || undefined} viewBox="0 0 8 8" refX="4" refY="4" markerWidth="9" markerHeight="9" markerUnits="userSpaceOnUse" orient="auto">
            <path d="M0 0L8 4L0 8z" />
          </marker>
        ))}
        {edges.map(({ from, to, inChain }) => from && from.y < to.y && (
          <path key={`${from.task.id} ${to.task.id}`} className="plan-edge" d={edge(from, to)} markerEnd={`url(#${arrow}${inChain})`} data-chain={inChain || undefined} />
        ))}
        {placed.map(({ task, x, y }) => (
          <foreignObject key={task.id} x={x} y={y} width={WIDTH} height={HEIGHT}>
            <div className="plan-node" data-chain={chain.has(task.id) || undefined} title={task.title}>
              <span className="plan-node-title" dir="auto">{task.title}</span>
              <span className="plan-node-aside">{task.id} · {hoursText(task.hours)}</span>
            </div>
          </foreignObject>
        ))}
      </svg>
    </div>
  );
}
