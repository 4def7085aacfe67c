/**
 * Markdown to HTML. The text is not trusted: a model may have been told to attack the reader.
 *
 * HTML in the text is shown as text, except for a few tags without attributes. The result passes a
 * sanitiser, and the page's Content-Security-Policy is a second line of defence.
 */
import DOMPurify from 'dompurify';
import { Marked, type Token, type TokenizerAndRendererExtension, type Tokens } from 'marked';
import { escapeHtml } from './escapeHtml';
import { highlight } from './highlight';
import { renderMath } from './math';
import { SAFE_IMAGE } from './safeImage';

const PLAIN_TAG = /&lt;(\/?(?:br|sub|sup|kbd|mark|u|b|i|em|strong|s|del|ins|small|details|summary))\s*\/?&gt;/gi;

const SAFE_LINK = /^(https?:|mailto:|#|\/(?!\/))/i;

interface MathToken extends Tokens.Generic {
  tex: string;
  display: boolean;
}

function math(name: string, level: 'block' | 'inline', start: RegExp, rule: RegExp, display: boolean): TokenizerAndRendererExtension {
  return {
    name,
    level,
    start: (source) => source.match(start)?.index,
    tokenizer(source) {
      const match = rule.exec(source);
      return match ? ({ type: name, raw: match[0], tex: (match[1] ?? match[2] ?? '').trim(), display } satisfies MathToken) : undefined;
    },
    renderer: (token) => renderMath((token as MathToken).tex, display),
  };
}

const markdown = new Marked({
  gfm: true,
  breaks: false,
  renderer: {
    html: ({ text }) => escapeHtml(text).replace(PLAIN_TAG, '<$1>'),
    code: ({ text, lang }) => `<pre tabindex="0"><code class="hljs">${highlight(text, lang)}</code></pre>`,
    // The page has an h1 of its own, so headings start at h2.
    heading({ tokens, depth }) {
      const level = Math.min(6, depth + 1);
      return `<h${level}>${this.parser.parseInline(tokens)}</h${level}>`;
    },
    checkbox: ({ checked }) => `<span class="check">${checked ? '☑' : '☐'}</span> `,
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

markdown.use({
  extensions: [
    math('mathBlock', 'block', /\$\$|\\\[/, /^(?:\$\$([\s\S]+?)\$\$|\\\[([\s\S]+?)\\\])/, true),
    math('mathInline', 'inline', /\$|\\\(/, /^(?:\\\(([\s\S]+?)\\\)|\$(?!\s)((?:\\.|[^$\\\n])+?)(?<!\s)\$(?![\d\w]))/, false),
  ],
});

const ALLOWED = {
  USE_PROFILES: { html: true, mathMl: true },
  FORBID_TAGS: ['style', 'form', 'input', 'button', 'textarea', 'select', 'iframe', 'object', 'embed', 'video', 'audio', 'picture', 'source', 'dialog'],
  FORBID_ATTR: ['style', 'id', 'name', 'srcset', 'href-translate', 'xlink:href'],
  ADD_ATTR: ['target'],
};

/** The blocks of a text, which are rendered one by one. While the text grows only the last one changes. */
export function blocks(text: string): Token[] {
  return markdown.lexer(text).filter((token) => token.type !== 'space' && token.type !== 'def');
}

/** The sanitised HTML of one block. */
export function toHtml(token: Token): string {
  return DOMPurify.sanitize(markdown.parser([token]), ALLOWED);
}
