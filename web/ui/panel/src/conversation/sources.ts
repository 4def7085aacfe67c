/** The passages that an answer is made from, as the agent names them in the `data` of its message. */
import type { ChatMessage } from '../service/types';

export interface Source {
  number: number;
  document: string;
  source: string;
  /** The headings above the passage. */
  titles: readonly string[];
  text: string;
  /** Where the passage is in the knowledge base; null where the answer does not say. */
  place: Place | null;
}

export interface Place {
  sourceId: string;
  documentId: string;
  /** Among the passages of the document, from 0. */
  position: number;
}

export function sourcesOf({ data }: ChatMessage): readonly Source[] {
  const given = data['sources'];
  if (!Array.isArray(given)) return [];
  return given.flatMap((one: Record<string, unknown>) => {
    if (typeof one?.['number'] !== 'number') return [];
    const titles = Array.isArray(one['titles']) ? one['titles'].map(String) : [];
    return [{ number: one['number'], document: text(one['document']), source: text(one['source']), titles, text: text(one['text']), place: placeOf(one) }];
  });
}

function placeOf({ source_id: sourceId, document_id: documentId, position }: Record<string, unknown>): Place | null {
  return isId(sourceId) && isId(documentId) && isPosition(position) ? { sourceId, documentId, position } : null;
}

/** Whether it is a UUID, as all ids of the server are. */
function isId(value: unknown): value is string {
  return typeof value === 'string' && /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i.test(value);
}

function isPosition(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** A name of a place. */
export function keyOf({ documentId, position }: Place): string {
  return `${documentId} ${position}`;
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
