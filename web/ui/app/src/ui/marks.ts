import { wordPattern } from './wordPattern';

/** A piece of a text, which is marked or not. */
export interface Piece {
  text: string;
  marked: boolean;
}

/**
 * The text in pieces, as `marks` divide it: pairs of the first and the one after the last, counted in
 * Unicode code points, in order.
 */
export function pieces(text: string, marks: readonly (readonly number[])[]): Piece[] {
  const points = [...text];
  const found: Piece[] = [];
  let end = 0;
  const add = (from: number, to: number, marked: boolean) => {
    if (to > from) found.push({ text: points.slice(from, to).join(''), marked });
  };
  for (const [from = 0, to = 0] of marks) {
    add(end, from, false);
    add(Math.max(end, from), to, true);
    end = Math.max(end, to);
  }
  add(end, points.length, false);
  return found;
}

/** The words of texts that are marked, each once. */
export function markedWords(texts: readonly { text: string; marks: readonly (readonly number[])[] }[]): string[] {
  const marked = texts.flatMap(({ text, marks }) => pieces(text, marks).filter((piece) => piece.marked));
  return [...new Set(marked.map((piece) => piece.text))];
}

/** The text in pieces, those of which are marked that are one of these words. */
export function piecesWith(text: string, words: readonly string[]): Piece[] {
  const found: Piece[] = [];
  let end = 0;
  for (const match of words.length ? text.matchAll(wordPattern(words, { whole: true })) : []) {
    if (match.index > end) found.push({ text: text.slice(end, match.index), marked: false });
    found.push({ text: match[0], marked: true });
    end = match.index + match[0].length;
  }
  if (end < text.length) found.push({ text: text.slice(end), marked: false });
  return found;
}
