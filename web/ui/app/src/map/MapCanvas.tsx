import type { Node } from '@branchline/client/thread/state';
import type { Viewport } from '@xyflow/react';
import { useLayoutEffect, useRef } from 'react';
import { LANE_COUNT } from '../ui/lanes';
import type { PlacedNode } from './layout';

/** Below this zoom the text is illegible, and states are drawn as dots. */
export const LEGIBLE = 0.42;

/** All lines, and below the legible zoom the dots: one canvas, however many there are. */
export function MapCanvas({ placed, lanes, onPath, viewport, size, nodes }: {
  placed: PlacedNode[];
  lanes: ReadonlyMap<string, number>;
  onPath: ReadonlySet<string>;
  viewport: Viewport;
  size: { width: number; height: number };
  nodes: ReadonlyMap<string, Node>;
}) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useLayoutEffect(() => {
    const element = canvas.current;
    const pen = element?.getContext('2d');
    if (!element || !pen || !size.width) return;
    const scale = devicePixelRatio || 1;
    if (element.width !== Math.round(size.width * scale)) element.width = Math.round(size.width * scale);
    if (element.height !== Math.round(size.height * scale)) element.height = Math.round(size.height * scale);
    const style = getComputedStyle(element);
    const colours = Array.from({ length: LANE_COUNT }, (_, lane) => style.getPropertyValue(`--lane-${lane}`));
    const { x: dx, y: dy, zoom } = viewport;
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, size.width, size.height);
    const dots = zoom < LEGIBLE;
    for (const state of placed) {
      const { parent } = state;
      const [x, y] = [state.x * zoom + dx, state.y * zoom + dy];
      if (y < -80 || (parent && parent.y * zoom + dy > size.height + 80)) continue;
      const colour = themeColour(colours[(lanes.get(state.id) ?? 0) % LANE_COUNT] ?? '', style);
      const isOnPath = onPath.has(state.id);
      pen.globalAlpha = isOnPath ? 1 : 0.45;
      pen.strokeStyle = pen.fillStyle = colour;
      if (parent) {
        const [px, py] = [parent.x * zoom + dx, parent.y * zoom + dy];
        pen.lineWidth = Math.max(0.75, (isOnPath ? 3 : 1.75) * Math.min(1, zoom * 1.2));
        pen.beginPath();
        pen.moveTo(px, py);
        if (Math.abs(px - x) < 1) pen.lineTo(x, y);
        else pen.bezierCurveTo(px, (py + y) / 2, x, (py + y) / 2, x, y);
        pen.stroke();
      }
      if (dots && x > -10 && x < size.width + 10) {
        pen.globalAlpha = isOnPath ? 1 : 0.7;
        pen.beginPath();
        pen.arc(x, y, Math.max(1.5, (isOnPath ? 11 : 8) * zoom), 0, 7);
        pen.fill();
      }
    }
  }, [placed, lanes, onPath, viewport, size, nodes]);
  return <canvas ref={canvas} className="map-lines" aria-hidden="true" />;
}

/** The colour of the current theme: a custom property may hold `light-dark(…)`, which a canvas does not understand. */
function themeColour(value: string, style: CSSStyleDeclaration): string {
  const pair = /light-dark\((.+?),\s*(.+?)\)/.exec(value);
  if (!pair) return value;
  const scheme = style.colorScheme;
  const dark = scheme === 'dark' || (scheme !== 'light' && matchMedia('(prefers-color-scheme: dark)').matches);
  return (dark ? pair[2] : pair[1]) ?? value;
}
