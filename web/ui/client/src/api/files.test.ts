import { expect, it } from 'vitest';
import { isAccepted, sizeText } from './files';

it('accepts what a worker names, by kind or exactly', () => {
  expect(isAccepted(['image/*', 'application/pdf'], 'image/png')).toBe(true);
  expect(isAccepted(['image/*', 'application/pdf'], 'application/pdf')).toBe(true);
  expect(isAccepted(['image/*'], 'imagery/png')).toBe(false);
  expect(isAccepted([], 'image/png')).toBe(false);
  expect(isAccepted(['*/*'], 'video/mp4')).toBe(true);
});

it('shows sizes as people read them', () => {
  expect([0, 999, 1000, 1449, 52_428_800, 3e9].map(sizeText)).toEqual(['0 bytes', '999 bytes', '1.0 KB', '1.4 KB', '52 MB', '3.0 GB']);
});
