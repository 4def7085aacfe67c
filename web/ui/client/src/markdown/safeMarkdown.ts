/**
 * Markdown to HTML. The text is not trusted: a model may have been told to attack the reader.
 *
 * HTML in the text is shown as text, except for a few tags without attributes. The result passes a
 * sanitiser, and the page's Content-Security-Policy is a second line of defence.
 */
import DOMPurify from 'dompurify';
import { type MarkedExtension, Renderer, type Tokens } from 'marked';
import { escapeHtml } from './escapeHtml';
import { SAFE_IMAGE } from './safeImage';

const PLAIN_TAGS = 'br|sub|sup|kbd|mark|u|b|i|em|strong|s|del|ins|small|details|summary';
const ESCAPED_TAG = new RegExp(String.raw`&lt;(/?(?:${PLAIN_TAGS}))\s*/?&gt;`, 'gi');
/** A tag in a text that is one on the page, too. */
export const PLAIN_TAG = new RegExp(String.raw`</?(?:${PLAIN_TAGS})\s*/?>`, 'gi');

/** A number of more digits is set with the text, where it cannot be clipped. */
const MOST_DIGITS = 5;

const SAFE_LINK = /^(https?:|mailto:|#|\/(?!\/))/i;

/** How Markdown is rendered; `code` makes HTML of what is in a block of code. */
export const safeMarkdown = (code: (text: string, language?: string) => string): MarkedExtension => ({
  gfm: true,
  breaks: false,
  renderer: {
    html: ({ text }) => escapeHtml(text).replace(ESCAPED_TAG, '<$1>'),
    codespan: ({ text }) => `<code dir="ltr">${escapeHtml(text)}</code>`,
    code: ({ text, lang }) => `<pre dir="ltr" tabindex="0"><code class="hljs">${code(text, lang)}</code></pre>`,
    // The page has an h1 of its own, so headings start at h2.
    heading({ tokens, depth }) {
      const level = Math.min(6, depth + 1);
      return `<h${level}>${this.parser.parseInline(tokens)}</h${level}>`;
    },
    list(token) {
      const html = Renderer.prototype.list.call(this, token);
      if (!token.ordered) return html;
      // The numbers stand beside the text, and need room.
      const digits = String(Number(token.start) + token.items.length - 1).length;
      return html.replace('<ol', `<ol class="digits-${Math.min(digits, MOST_DIGITS)}"`);
    },
    checkbox: ({ checked }) => `<span class="check" role="img" aria-label="${checked ? 'Done' : 'To do'}">${checked ? '☑' : '☐'}</span> `,
    link({ href, title, tokens }) {
      const words = this.parser.parseInline(tokens);
      if (!SAFE_LINK.test(href.trim())) return words;
      const hint = title ? ` title="${escapeHtml(title)}"` : '';
      return `<a href="${escapeHtml(href)}"${hint} target="_blank" rel="noopener noreferrer nofollow">${words}</a>`;
    },
    image({ href, text }) {
      if (SAFE_IMAGE.test(href)) return `<img src="${escapeHtml(href)}" alt="${escapeHtml(text)}">`;
      if (!/^https?:/i.test(href)) return escapeHtml(text);
      // Remote images are not loaded: the request would reveal that the text was read. A link takes their place.
      return `<a href="${escapeHtml(href)}" target="_blank" rel="noopener noreferrer nofollow">${escapeHtml(text || href)}</a>`;
    },
    table({ header, rows }) {
      const cell = (tag: string) => (one: Tokens.TableCell) =>
        `<${tag}${one.align ? ` align="${one.align}"` : ''}>${this.parser.parseInline(one.tokens)}</${tag}>`;
      const body = rows.map((row) => `<tr>${row.map(cell('td')).join('')}</tr>`).join('');
      const head = `<tr>${header.map(cell('th')).join('')}</tr>`;
      return `<div class="table" tabindex="0"><table><thead>${head}</thead><tbody>${body}</tbody></table></div>`;
    },
  },
});

const ALLOWED = {
  USE_PROFILES: { html: true, mathMl: true },
  FORBID_TAGS: ['style', 'form', 'input', 'button', 'textarea', 'select', 'iframe', 'object', 'embed', 'video', 'audio', 'picture', 'source', 'dialog'],
  FORBID_ATTR: ['style', 'id', 'name', 'srcset', 'href-translate', 'xlink:href'],
  ADD_ATTR: ['target'],
};

/** What may be in a page of what was rendered. */
export function sanitized(html: string): string {
  return DOMPurify.sanitize(html, ALLOWED);
}
