import { describe, expect, it } from 'vitest';
import { placeholderNode } from './state';
import { passages, withoutThoughts } from './thoughts';
import { firstCharacters, nodeTitle } from './titles';

const title = (preview: string) => nodeTitle({ ...placeholderNode('a'), parentId: 'b', preview });

describe('a title', () => {
  it.each([
    ['**Bold** and `code`', 'Bold and code'],
    ['<think>\nHm.\n</think>\n\nThe answer', 'The answer'],
    ['Hm.\n</think>\n\nThe answer', 'The answer'],
    ['<think>\nI wonder whether', 'I wonder whether'],
    [`${'x'.repeat(79)}👨`, 'x'.repeat(79)],
    [`${'x'.repeat(75)}👨\u200d👩\u200d👧`, 'x'.repeat(75)],
    [`${'x'.repeat(70)}👨\u200d👩\u200d👧`, `${'x'.repeat(70)}👨\u200d👩\u200d👧`],
  ])('%j', (preview, expected) => expect(title(preview)).toBe(expected));
});

it('a text is cut between the characters that a reader sees', () => {
  expect(firstCharacters('🇳🇴🇫🇷', 5)).toBe('🇳🇴');
  expect(firstCharacters('ae\u0301', 2)).toBe('a');
  expect(firstCharacters('short', 10)).toBe('short');
  expect(firstCharacters('👍🏽'.repeat(100_000), 9)).toBe('👍🏽👍🏽');
});

describe('thoughts', () => {
  it('are passages of their own', () => {
    expect(passages('<think>\nHm.\n</think>\n\nOne.\n<thinking>Two?</thinking>Three.')).toEqual([
      { kind: 'thought', text: 'Hm.' },
      { kind: 'text', text: '\n\nOne.' },
      { kind: 'thought', text: 'Two?' },
      { kind: 'text', text: 'Three.' },
    ]);
  });

  it.each(['What does <think> mean?', '```\n<think>\n```', 'plain'])('%j has none', (text) => {
    expect(passages(text)).toEqual([{ kind: 'text', text }]);
  });

  it('last to the end while they are written', () => expect(passages('<think>so fa')).toEqual([{ kind: 'thought', text: 'so fa' }]));
  it.each(['<', '<thi', '<think', 'Text\n<thin', 'Text\n</thin', 'Text</', 'Text</think>', '<think>Text\n</thin', '<think>Text</'])('do not flash as %j', (text) => {
    expect(passages(text, true).map((passage) => passage.text.trim()).join()).toBe(text.includes('Text') ? 'Text' : '');
  });

  it.each([
    ['Hm.\n</think>\n\nOne.', ['Hm.', 'One.']],
    ['Hm.</think>\n\nOne.\n<think>\nTwo?\n</think>\nThree.', ['Hm.', 'One.', 'Two?', 'Three.']],
    ['\n</thinking>\nOne.', ['One.']],
    ['Hm.</think>', ['Hm.']],
  ])('may begin with the text: %j', (text, expected) => {
    expect(passages(text).map((passage) => passage.text.trim())).toEqual(expected);
    expect(passages(text)[0]?.kind).toBe(expected[0] === 'Hm.' ? 'thought' : 'text');
  });
  it.each(['It ends with `</think>`, and\nno more.', '```\nHm.\n</think>\n```', 'Is </think> there?'])('do not end in %j', (text) => {
    expect(passages(text)).toEqual([{ kind: 'text', text }]);
  });
  it('that begin with the text are one once their end is there', () => {
    expect(passages('Hm.\n', true)).toEqual([{ kind: 'text', text: 'Hm.\n' }]);
    expect(passages('Hm.\n</think>', true)).toEqual([{ kind: 'thought', text: 'Hm.' }]);
  });
  it('are left out', () => expect(withoutThoughts('<think>a</think>\n\nb')).toBe('b'));
});
