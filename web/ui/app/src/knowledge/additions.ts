/** What is added to a source, and what has become of it. */
import type { Ingestion } from '@branchline/client/api/types';
import { counted } from './words';

/** Files and addresses that one ingestion takes. */
export const MOST_FILES = 20;
export const MOST_ADDRESSES = 100;

/** The endings of files that can be added, as a dialog for choosing them takes them. */
export const ENDINGS = '.md,.markdown,.mdx,.html,.htm,.xhtml,.txt,.rst,.pdf,.docx,.zip';

/** The addresses of web pages in a text, and what in it is none. */
export function addressesIn(text: string): { urls: string[]; wrong: string[] } {
  const urls: string[] = [];
  const wrong: string[] = [];
  for (const word of text.split(/[\s,<>"]+/).filter(Boolean)) {
    const url = addressOf(/^https?:\/\//i.test(word) ? word : `https://${word}`);
    if (url && (url.hostname.includes('.') || url.hostname === 'localhost')) urls.push(url.href);
    else wrong.push(word);
  }
  return { urls: [...new Set(urls)], wrong };
}

function addressOf(text: string): URL | null {
  try {
    return new URL(text);
  } catch {
    return null;
  }
}

/** How far a run of the worker `ingest` is, by what it says that it does; null where it says no numbers. */
export function progressOf(step: string | null): { done: number; of: number } | null {
  const [, number, of] = /^Adding (\d+) of (\d+): /.exec(step ?? '') ?? [];
  return number && of ? { done: Number(number) - 1, of: Number(of) } : null;
}

/** How an ingestion has ended, in a sentence. */
export function outcomeText({ run, added, unchanged, failed }: Ingestion): string {
  const numbers: [number | null, string][] = [[added, 'added'], [unchanged, 'unchanged'], [failed, 'could not be added']];
  const parts = numbers.filter(([number]) => number).map(([number, what], index) => (index ? `${number} ${what}` : `${counted(number ?? 0, 'document')} ${what}`));
  const told = parts.length ? `${parts.join(', ')}.` : '';
  if (run.status === 'cancelled') return told ? `Cancelled. ${told}` : 'Cancelled.';
  if (run.status === 'timeout') return `It took too long. ${told}`.trim();
  if (run.status === 'error') return [sentence(run.error?.message ?? 'It failed.'), told].join(' ').trim();
  return told || 'Nothing was added.';
}

/** With a capital letter and a full stop. */
export function sentence(text: string): string {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?…]$/.test(begun) ? begun : `${begun}.`;
}

/** What has to be asked for once more: each page, file and archive once. */
export function failedOf({ problems }: Pick<Ingestion, 'problems'>): { urls: string[]; files: string[] } {
  const distinct = (values: (string | null)[]) => [...new Set(values.filter((value) => value !== null))];
  return { urls: distinct(problems.map(({ url }) => url)).slice(0, MOST_ADDRESSES), files: distinct(problems.map(({ file }) => file)).slice(0, MOST_FILES) };
}

/** In groups of at most `size`. */
export function grouped<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, index) => items.slice(index * size, (index + 1) * size));
}
