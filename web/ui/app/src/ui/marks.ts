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
