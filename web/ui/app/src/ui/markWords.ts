/**
 * Marking words in what is rendered, by the CSS Custom Highlight API: the elements stay as they are, which
 * others render. In a browser without it nothing is marked.
 */
import { wordPattern } from './wordPattern';

const NAME = 'found';

/**
 * Mark the words in an element, instead of those that were marked before; returns the first place, if there is one.
 * `whole`: not where they are a part of another word.
 */
export function markWords(element: HTMLElement, words: readonly string[], { whole = false } = {}): Range | null {
  const ranges = words.length ? rangesOf(element, wordPattern(words, { whole })) : [];
  if ('highlights' in CSS) {
    if (ranges.length) CSS.highlights.set(NAME, new Highlight(...ranges));
    else CSS.highlights.delete(NAME);
  }
  return ranges[0] ?? null;
}

/** Where the words are, in the order of the document. A word that is spread over several elements is not found. */
function rangesOf(element: HTMLElement, wanted: RegExp): Range[] {
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT, (node) =>
    node.parentElement?.closest('button, footer, .turn-header') ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT,
  );
  const found: Range[] = [];
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    for (const match of (node.nodeValue ?? '').matchAll(wanted)) {
      const range = document.createRange();
      range.setStart(node, match.index);
      range.setEnd(node, match.index + match[0].length);
      found.push(range);
    }
  }
  return found;
}
