import { type Piece, pieces } from './marks';

/** A text with the words marked that a search has found. */
export function Marked({ text, marks }: { text: string; marks: readonly (readonly number[])[] }) {
  return <Pieces of={pieces(text, marks)} />;
}

export function Pieces({ of }: { of: readonly Piece[] }) {
  return of.map((piece, index) => (piece.marked ? <mark key={index}>{piece.text}</mark> : piece.text));
}
