import { pieces } from './marks';

/** A text with the words marked that a search has found. */
export function Marked({ text, marks }: { text: string; marks: readonly (readonly number[])[] }) {
  return pieces(text, marks).map((piece, index) => (piece.marked ? <mark key={index}>{piece.text}</mark> : piece.text));
}
