/** The agent's texts, loaded with the first one: they are larger than the panel. */
import { escapeHtml } from '@branchline/client/markdown/escapeHtml';
import { safeMarkdown, sanitized } from '@branchline/client/markdown/safeMarkdown';
import { Marked, type Tokens } from 'marked';

/** `[1]`, of which the agent has given a source. */
const CITATION = /^\[(\d{1,3})\](?![([:])/;

/** Renders texts whose sources have these numbers. */
function rendererOf(sources: readonly number[]): Marked {
  return new Marked(safeMarkdown(escapeHtml), {
    extensions: [
      {
        name: 'citation',
        level: 'inline',
        start: (text) => text.match(/\[\d/)?.index,
        tokenizer: (text) => {
          const [raw, number] = CITATION.exec(text) ?? [];
          return raw === undefined || !sources.includes(Number(number)) ? undefined : { type: 'citation', raw, number };
        },
        renderer: (token: Tokens.Generic) => `<a href="#source-${token['number']}" data-source="${token['number']}">${token['number']}</a>`,
      },
    ],
  });
}

const renderers = new Map<string, Marked>();

/** The sanitised HTML of each block of a text; numbers in brackets lead to sources that have them. */
export function render(text: string, sources: readonly number[]): string[] {
  const key = sources.join();
  const markdown = renderers.get(key) ?? rendererOf(sources);
  renderers.set(key, markdown);
  const tokens = markdown.lexer(text).filter((token) => token.type !== 'space' && token.type !== 'def');
  return tokens.map((token) => sanitized(markdown.parser([token])));
}
