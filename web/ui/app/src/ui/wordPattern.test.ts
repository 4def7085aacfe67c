import { expect, test } from 'vitest';
import { wordPattern } from './wordPattern';

const found = (text: string, words: string[], options = {}) => text.match(wordPattern(words, options));

test('words are found in any case, as parts of others unless they have to be whole', () => {
  expect(found('Cats concatenate a cat', ['cat'])).toEqual(['Cat', 'cat', 'cat']);
  expect(found('Cats concatenate a cat', ['cat'], { whole: true })).toEqual(['cat']);
  expect(found('für Fürsten', ['für'], { whole: true })).toEqual(['für']);
});

test('characters of languages without spaces are found anywhere', () => {
  expect(found('東京都に住む', ['京', '住'], { whole: true })).toEqual(['京', '住']);
});

test('signs are signs', () => {
  expect(found('a well-known C++ (1/2) text', ['well-known', 'C++', '(1/2)'])).toEqual(['well-known', 'C++', '(1/2)']);
  expect(found('two\n words', ['two words'])).toEqual(['two\n words']);
});
