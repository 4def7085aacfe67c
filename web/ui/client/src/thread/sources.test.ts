import { expect, test } from 'vitest';
import { citedBy, placeOf, sourcesOf, withLinks } from './sources';

const LISTED = [
  { number: 1, document: 'cats.md', titles: ['Cats', 'Food'], text: 'Mice.', position: 3, source_id: 's', document_id: 'd' },
  { number: 2, document: 'a "b".md', text: 'Cheese.' },
];
const SOURCES = sourcesOf({ data: { sources: LISTED } });

test('a message has its sources, and what is none is left out', () => {
  expect(SOURCES.map(placeOf)).toEqual(['cats.md › Cats › Food', 'a "b".md']);
  expect(SOURCES[0]).toMatchObject({ number: 1, position: 3, sourceId: 's', documentId: 'd' });
  expect(SOURCES[1]).toMatchObject({ number: 2, titles: [], sourceId: null });
  for (const sources of [undefined, 'x', {}, [null, 1, { number: '1' }, { number: 1, document: 'x' }]]) expect(sourcesOf({ data: { sources } })).toEqual([]);
});

test('citations are links, of known sources and outside of code', () => {
  expect(withLinks('Mice [1], not [3].', SOURCES)).toBe('Mice [\\[1\\]](#source-1 "cats.md › Cats › Food"), not [3].');
  expect(withLinks('[2]', SOURCES)).toBe('[\\[2\\]](#source-2 "a \\"b\\".md")');
  for (const code of ['`a[1]`', '```\na[1]\n```', '```\na[1]', '``a`[1]``', '[1](x)', '[1]: x']) expect(withLinks(code, SOURCES)).toBe(code);
  expect(withLinks('a ` b [1]', SOURCES)).toContain('#source-1');
});

test('a link leads to its source', () => {
  expect(citedBy('#source-2', SOURCES)).toBe(SOURCES[1]);
  for (const href of ['#source-3', '#else', 'https://x', null, undefined]) expect(citedBy(href, SOURCES)).toBeUndefined();
});
