/** The passages that an answer is made from, as the agent names them in the `data` of its message. */
import type { ChatMessage } from '../service/types';

export interface Source {
  number: number;
  document: string;
  source: string;
  /** The headings above the passage. */
  titles: readonly string[];
  text: string;
}

export function sourcesOf({ data }: ChatMessage): readonly Source[] {
  const given = data['sources'];
  if (!Array.isArray(given)) return [];
  return given.flatMap((one: Record<string, unknown>) => {
    if (typeof one?.['number'] !== 'number') return [];
    const titles = Array.isArray(one['titles']) ? one['titles'].map(String) : [];
    return [{ number: one['number'], document: text(one['document']), source: text(one['source']), titles, text: text(one['text']) }];
  });
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
