/** The texts of the app in Markdown: with formulas and colours, block by block. */
import { safeMarkdown, sanitized } from '@branchline/client/markdown/safeMarkdown';
import { Marked, type Token } from 'marked';
import { formulas, joinFormulas } from './formulas';
import { highlight } from './highlight';

const OPTIONS = safeMarkdown(highlight);
const markdown = new Marked(OPTIONS, { extensions: formulas(false) });
/** The same for a text that is still written. */
const growingMarkdown = new Marked(OPTIONS, { extensions: formulas(true) });

/** The blocks of a text, which are rendered one by one. While the text is `growing` only the last one changes. */
export function blocks(text: string, growing = false): Token[] {
  return (growing ? growingMarkdown : markdown).lexer(joinFormulas(text)).filter((token) => token.type !== 'space' && token.type !== 'def');
}

/** The sanitised HTML of one block. */
export function toHtml(token: Token): string {
  return sanitized(markdown.parser([token]));
}
