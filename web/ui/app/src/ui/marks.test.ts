import { expect, test } from 'vitest';
import { markedWords, pieces, piecesWith } from './marks';

const drawn = (text: string, marks: number[][]) => pieces(text, marks).map((piece) => (piece.marked ? `[${piece.text}]` : piece.text)).join('');

test('a text is divided by its marks', () => {
  expect(drawn('Of apples and pears', [[3, 9], [14, 19]])).toBe('Of [apples] and [pears]');
  expect(drawn('Nothing', [])).toBe('Nothing');
});

test('marks are counted in code points', () => {
  expect(drawn('😀 apples 😀', [[2, 8]])).toBe('😀 [apples] 😀');
});

test('marks that overlap mark each character once', () => {
  expect(drawn('abcdef', [[0, 3], [2, 5]])).toBe('[abc][de]f');
});

test('marked words are listed once, and found again in another form of the text', () => {
  const words = markedWords([{ text: 'The **cat** eats', marks: [[6, 9]] }, { text: 'cat, Eating', marks: [[0, 3], [5, 11]] }]);
  expect(words).toEqual(['cat', 'Eating']);
  expect(piecesWith('The cat, concatenated', words).map(({ text, marked }) => (marked ? `[${text}]` : text)).join('')).toBe('The [cat], concatenated');
  expect(piecesWith('cat', [])).toEqual([{ text: 'cat', marked: false }]);
});
