import { expect, test } from 'vitest';
import { pieces } from './marks';

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
