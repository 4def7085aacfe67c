/** Formulas as MathML, which browsers draw themselves; KaTeX is loaded when the first one is seen. */
import type katex from 'katex';
import { escapeHtml } from './escapeHtml';
import { rendererLoaded } from './highlight';

let renderer: typeof katex | null = null;
let requested = false;

export function renderMath(tex: string, display: boolean): string {
  if (!renderer) {
    if (!requested) void load();
    return `<code>${escapeHtml(tex)}</code>`;
  }
  const html = renderer.renderToString(tex, { output: 'mathml', displayMode: display, throwOnError: false, trust: false });
  const drawn = /<math[\s\S]*<\/math>/.exec(html)?.[0];
  if (!drawn) return `<code>${escapeHtml(tex)}</code>`;
  // The source beside the formula would be shown as text once its element is sanitised away.
  const plain = drawn.replace(/<annotation[\s\S]*?<\/annotation>/g, '').replace(/<\/?semantics>/g, '');
  return display ? `<div class="formula" tabindex="0">${plain}</div>` : plain;
}

async function load(): Promise<void> {
  requested = true;
  try {
    renderer = (await import('katex')).default;
    rendererLoaded();
  } catch {
    requested = false;
  }
}
