/** Draws formulas with KaTeX, which is loaded with its styles and fonts for the first one. */
import type katex from 'katex';
import { rendererLoaded } from './highlight';

let renderer: typeof katex | null = null;
let requested = false;

/** The largest size that a formula may ask for, in em. */
const MAX_SIZE = 40;

/**
 * Replace the source of each formula in an element by the formula.
 *
 * The page's Content-Security-Policy ignores styles in HTML, so they are set by script. What a formula may
 * say is limited: no links, no classes, no pictures.
 */
export function typeset(root: HTMLElement): void {
  const found = root.querySelectorAll<HTMLElement>('.formula[data-tex]');
  if (!found.length) return;
  if (!renderer) {
    if (!requested) void load();
    return;
  }
  for (const element of found) {
    const html = renderer.renderToString(element.dataset['tex'] ?? '', {
      displayMode: element.classList.contains('formula-display'),
      throwOnError: false,
      errorColor: 'currentColor',
      strict: 'ignore',
      trust: false,
      maxSize: MAX_SIZE,
    });
    delete element.dataset['tex'];
    // Quotation marks in a formula are escaped, so these are attributes.
    element.innerHTML = html.replaceAll(' style="', ' data-style="');
    for (const part of element.querySelectorAll<HTMLElement | SVGElement>('[data-style]')) {
      part.style.cssText = part.dataset['style'] ?? '';
      part.removeAttribute('data-style');
    }
  }
}

async function load(): Promise<void> {
  requested = true;
  try {
    const [{ default: loaded }] = await Promise.all([
      import('katex'),
      import('katex/dist/katex.min.css'),
      import('katex/contrib/copy-tex'),
    ]);
    renderer = loaded;
    rendererLoaded();
  } catch {
    requested = false;
  }
}
