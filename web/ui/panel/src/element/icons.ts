/** The panel's icons, drawn in the text's colour. */
import { svg, type SVGTemplateResult, html, type TemplateResult } from 'lit';

const icon = (paths: SVGTemplateResult): TemplateResult =>
  html`<svg viewBox="0 0 24 24" width="20" height="20" fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">${paths}</svg>`;

export const CHAT = icon(svg`<path d="M20 11.5a8 8 0 0 1-11.6 7.1L4 20l1.4-4.2A8 8 0 1 1 20 11.5Z"/><path d="M8.5 10h7M8.5 13.5h4.5"/>`);
export const CLOSE = icon(svg`<path d="m6 6 12 12M18 6 6 18"/>`);
export const PLUS = icon(svg`<path d="M12 5v14M5 12h14"/>`);
export const SEND = icon(svg`<path d="M12 19V5M6 11l6-6 6 6"/>`);
export const STOP = icon(svg`<rect x="7" y="7" width="10" height="10" rx="1.5" fill="currentColor"/>`);
export const CLIP = icon(svg`<path d="m20 11-8.2 8.2a5 5 0 0 1-7-7L13 4a3.3 3.3 0 0 1 4.7 4.7l-8 8a1.7 1.7 0 0 1-2.4-2.4L14.5 7"/>`);
export const FILE = icon(svg`<path d="M14 3H7a1 1 0 0 0-1 1v16a1 1 0 0 0 1 1h10a1 1 0 0 0 1-1V7Z"/><path d="M14 3v4h4"/>`);
export const DOWN = icon(svg`<path d="M12 5v14M6 13l6 6 6-6"/>`);
export const RETRY = icon(svg`<path d="M4 12a8 8 0 1 1 2.6 5.9"/><path d="M4 18v-4.5h4.5"/>`);
