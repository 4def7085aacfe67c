/** The passages that an answer is made from, in the data of its message, and the numbers by which it cites them. */
import type { Message } from '../api/types';

export interface Source {
  /** By which the answer cites it, as [1]. */
  number: number;
  document: string;
  /** The headings above the passage, the outermost first. */
  titles: string[];
  text: string;
  /** Among the passages of its document, from 0. */
  position: number;
  /** Of its source and its document; null where it was made without a server. */
  sourceId: string | null;
  documentId: string | null;
}

const LINK = '#source-';
/** Code, which has no citations; and a citation that is not the text of a link. */
const CITATION = /(`{3,})[\s\S]*?(?:\1`*|$)|(`+)(?!`)[^\n]*?(?<!`)\2(?!`)|\[(\d{1,3})\](?![(:])/g;

/** The sources of a message, in order; none where it has none. */
export function sourcesOf({ data }: Pick<Message, 'data'>): Source[] {
  const listed = data['sources'];
  return Array.isArray(listed) ? listed.map(sourceOf).filter((source) => source !== null) : [];
}

function sourceOf(value: unknown): Source | null {
  if (typeof value !== 'object' || value === null) return null;
  const { number, document, titles, text, position, source_id: sourceId, document_id: documentId } = value as Record<string, unknown>;
  if (typeof number !== 'number' || typeof document !== 'string' || typeof text !== 'string') return null;
  return {
    number,
    document,
    titles: Array.isArray(titles) ? titles.filter((title) => typeof title === 'string') : [],
    text,
    position: typeof position === 'number' ? position : 0,
    sourceId: typeof sourceId === 'string' ? sourceId : null,
    documentId: typeof documentId === 'string' ? documentId : null,
  };
}

/** Where a passage is: its document and the headings above it. */
export function placeOf({ document, titles }: Source): string {
  return [document, ...titles].join(' › ');
}

/** A text in Markdown whose citations of these sources are links, which {@link citedBy} understands. */
export function withLinks(text: string, sources: readonly Source[]): string {
  if (!sources.length) return text;
  const known = new Map(sources.map((source) => [source.number, source]));
  return text.replace(CITATION, (all, _fence, _ticks, number?: string) => {
    const source = known.get(Number(number));
    return source ? `[\\[${number}\\]](${LINK}${number} "${quoted(placeOf(source))}")` : all;
  });
}

function quoted(title: string): string {
  return title.replace(/\s+/g, ' ').replace(/[\\"]/g, '\\$&');
}

/** The source that a link of {@link withLinks} leads to; undefined if the address is no such link. */
export function citedBy(href: string | null | undefined, sources: readonly Source[]): Source | undefined {
  return href?.startsWith(LINK) ? sources.find(({ number }) => String(number) === href.slice(LINK.length)) : undefined;
}
