/** The panel's size, which its user may change and the browser keeps. */

import { keep, kept } from '../browser/storage';

export type Side = 'width' | 'height';

/** Pixels. */
const LEAST: Record<Side, number> = { width: 300, height: 320 };
const STEP = 24;

export class Size {
  constructor(
    private readonly host: HTMLElement,
    private readonly changed: () => void,
  ) {}

  /** Show the panel in the size that it had here. */
  restore(): void {
    for (const side of ['width', 'height'] as const) {
      const pixels = Number(kept(side));
      if (pixels) this.set(side, pixels);
    }
  }

  /** Pixels, as it is now. */
  of(side: Side): number {
    const frame = this.host.shadowRoot?.querySelector('.frame');
    return Math.round(frame?.getBoundingClientRect()[side] ?? LEAST[side]);
  }

  least(side: Side): number {
    return LEAST[side];
  }

  most(side: Side): number {
    return Math.max(LEAST[side], (side === 'width' ? innerWidth : innerHeight) - 32);
  }

  set(side: Side, pixels: number): void {
    const bounded = Math.round(Math.min(Math.max(pixels, LEAST[side]), this.most(side)));
    this.host.style.setProperty(`--agent-chat-${side}`, `${bounded}px`);
    keep(side, String(bounded));
    this.changed();
  }

  /** Follow the pointer until it is let go. */
  drag(side: Side, event: PointerEvent): void {
    const handle = event.currentTarget as HTMLElement;
    const isRtl = getComputedStyle(this.host).direction === 'rtl';
    const from = { size: this.of(side), at: side === 'width' ? event.clientX : event.clientY };
    const move = (now: PointerEvent) => {
      const by = from.at - (side === 'width' ? now.clientX : now.clientY);
      this.set(side, from.size + (side === 'width' && isRtl ? -by : by));
    };
    handle.setPointerCapture(event.pointerId);
    handle.addEventListener('pointermove', move);
    handle.addEventListener('lostpointercapture', () => handle.removeEventListener('pointermove', move), { once: true });
    event.preventDefault();
  }

  /** The arrow keys move the handle. */
  press(side: Side, event: KeyboardEvent): void {
    const isRtl = getComputedStyle(this.host).direction === 'rtl';
    const larger = side === 'height' ? 'ArrowUp' : isRtl ? 'ArrowRight' : 'ArrowLeft';
    const smaller = side === 'height' ? 'ArrowDown' : isRtl ? 'ArrowLeft' : 'ArrowRight';
    if (event.key !== larger && event.key !== smaller) return;
    event.preventDefault();
    this.set(side, this.of(side) + (event.key === larger ? STEP : -STEP));
  }
}
