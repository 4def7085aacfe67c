/** Formulas as MathML, which browsers render themselves; KaTeX is loaded for the first one. */
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
  const mathml = /<math[\s\S]*<\/math>/.exec(html)?.[0];
  if (!mathml) return `<code>${escapeHtml(tex)}</code>`;
  // The sanitiser removes the element of the annotation, and its source would remain as text.
  const plain = mathml.replace(/<annotation[\s\S]*?<\/annotation>/g, '').replace(/<\/?semantics>/g, '');
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
