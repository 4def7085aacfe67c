import type { Ingestion } from '@branchline/client/api/types';
import { describe, expect, test } from 'vitest';
import { addressesIn, failedOf, grouped, outcomeText, progressOf } from './additions';

describe('addresses', () => {
  test('are those of the web, each once, also without their beginning', () => {
    expect(addressesIn('https://example.com/a example.com/b\nhttps://example.com/a, http://localhost:8000/')).toEqual({
      urls: ['https://example.com/a', 'https://example.com/b', 'http://localhost:8000/'],
      wrong: [],
    });
  });

  test('what is none is told', () => {
    expect(addressesIn('manual https://ok.org/ ftp://x.org/')).toEqual({ urls: ['https://ok.org/'], wrong: ['manual', 'ftp://x.org/'] });
    expect(addressesIn('  ')).toEqual({ urls: [], wrong: [] });
  });
});

test('the progress is read from what the worker does', () => {
  expect(progressOf('Adding 3 of 12: a 4 of 5.md')).toEqual({ done: 2, of: 12 });
  expect(progressOf('Looking into what you have attached')).toBeNull();
  expect(progressOf(null)).toBeNull();
});

const ended = (status: string, counts: Partial<Ingestion>, message?: string) =>
  outcomeText({ run: { status, error: message ? { message } : null }, added: null, unchanged: null, failed: null, problems: [], ...counts } as unknown as Ingestion);

test('the outcome is told in a sentence', () => {
  expect(ended('success', { added: 1, unchanged: 0, failed: 0 })).toBe('1 document added.');
  expect(ended('success', { added: 1200, unchanged: 3, failed: 2 })).toBe('1,200 documents added, 3 unchanged, 2 could not be added.');
  expect(ended('success', { added: 0, unchanged: 0, failed: 2 })).toBe('2 documents could not be added.');
  expect(ended('success', { added: 0, unchanged: 0, failed: 0 })).toBe('Nothing was added.');
  expect(ended('cancelled', { added: 2 })).toBe('Cancelled. 2 documents added.');
  expect(ended('cancelled', {})).toBe('Cancelled.');
  expect(ended('error', {}, 'there is no source of this name')).toBe('There is no source of this name.');
});

test('of what failed each page and file is asked for once more', () => {
  const one = (url: string | null, file: string | null) => ({ name: 'n', problem: 'p', url, file });
  expect(failedOf({ problems: [one('u', null), one(null, 'f'), one(null, 'f')] })).toEqual({ urls: ['u'], files: ['f'] });
});

test('many are asked for in groups', () => {
  expect(grouped([1, 2, 3], 2)).toEqual([[1, 2], [3]]);
  expect(grouped([], 2)).toEqual([]);
});
