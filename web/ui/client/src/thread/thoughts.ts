/**
 * The thoughts that many models write into their text, in `<think>` and `</think>`.
 *
 * Some models' templates end the prompt with `<think>`, so that the text begins with a thought and has the end of it only.
 */

export interface Passage {
  kind: 'thought' | 'text';
  text: string;
}

const OPENING = /(?:^|\n)[ \t]*<(think|thinking)>/g;
/** The end of a thought, at the beginning or at the end of a line; elsewhere it is spoken of. */
const CLOSING = /(?:^|\n)[ \t]*<\/(?:think|thinking)>|<\/(?:think|thinking)>(?=[ \t]*\n)/;
/** A mark at the end of a text of which not all is there yet, be it what shows that it is one. */
const BEGINNING = /(?:(?<=^|\n)[ \t]*<|<\/)(?:t(?:h(?:i(?:n(?:k(?:i(?:n(?:g)?)?)?)?)?)?)?)?$|<\/(?:think|thinking)>[ \t]*$/;
const FENCE = /^ {0,3}(?:```|~~~)/gm;

/**
 * A text in passages. What is in a block of code is no thought; a thought that is not closed lasts to the end, and
 * one that is not opened begins with the text. Of a text that is still `growing` the beginning of a mark
 * is not shown.
 */
export function passages(text: string, growing = false): Passage[] {
  const found: Passage[] = [];
  const shown = (rest: string) => (growing ? rest.replace(BEGINNING, '') : rest);
  // The end of a whole text is the end of a line.
  let at = endOfUnopened(growing ? text : `${text}\n`);
  if (at) found.push({ kind: 'thought', text: text.slice(0, at).replace(/<\/(?:think|thinking)>$/, '') });
  OPENING.lastIndex = at;
  for (let match = OPENING.exec(text); match; match = OPENING.exec(text)) {
    const before = text.slice(at, match.index);
    if (endsInCode(before)) continue;
    const start = match.index + match[0].length;
    const closing = `</${match[1]}>`;
    const end = text.indexOf(closing, start);
    found.push({ kind: 'text', text: before }, { kind: 'thought', text: end < 0 ? shown(text.slice(start)) : text.slice(start, end) });
    at = end < 0 ? text.length : end + closing.length;
    OPENING.lastIndex = at;
  }
  found.push({ kind: 'text', text: shown(text.slice(at)) });
  return found.map((passage) => (passage.kind === 'thought' ? { ...passage, text: passage.text.trim() } : passage)).filter((passage) => passage.text.trim() !== '');
}

/** Where a thought ends that the text begins with, without its mark; 0 if there is none. */
function endOfUnopened(text: string): number {
  const closing = CLOSING.exec(text);
  if (!closing) return 0;
  const before = text.slice(0, closing.index);
  OPENING.lastIndex = 0;
  return OPENING.test(before) || endsInCode(before) ? 0 : closing.index + closing[0].length;
}

function endsInCode(text: string): boolean {
  return ((text.match(FENCE)?.length ?? 0) & 1) === 1;
}

/** A text without the thoughts in it. */
export function withoutThoughts(text: string): string {
  return passages(text).filter(({ kind }) => kind === 'text').map((passage) => passage.text).join('').trim();
}
