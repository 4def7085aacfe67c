/**
 * Where a text has formulas. In a line `$…$` follows the rules of Pandoc: no space inside of the dollar
 * signs and no digit after the second one, so that prices are none. `\(…\)` is the same without a doubt;
 * `$$…$$` and `\[…\]` are displayed on lines of their own. No formula contains an empty line.
 *
 * Markdown only finds the formulas and leaves their source in the HTML; `typeset.ts` draws them.
 */
import type { TokenizerAndRendererExtension, Tokens } from 'marked';
import { escapeHtml } from '@branchline/client/markdown/escapeHtml';

export interface Formula extends Tokens.Generic {
  tex: string;
  display: boolean;
}

/** Characters of the longest formula, so that a text full of beginnings does not take long to read. */
const LONGEST = 10_000;
const DISPLAY = String.raw`(?:\$\$((?:\\[^]|(?!\$\$|\n[ \t]*\n)[^\\]){1,${LONGEST}})\$\$|\\\[((?:(?!\\\]|\n[ \t]*\n)[^]){1,${LONGEST}})\\\])`;
const BLOCK = new RegExp(String.raw`^ {0,3}${DISPLAY}[ \t]*\n?`);
/** At the beginning of a line, or at the end of one: `- b` in the lines between would be a list. */
const BLOCK_START = /(?<=\n) {0,3}(?:\$\$|\\\[)|(?<!`)(?:\$\$|\\\[)[ \t]*\n/;

const INLINE_DISPLAY = new RegExp(`^${DISPLAY}`);
const PARENTHESES = new RegExp(String.raw`^\\\(((?:(?!\\\))[^]){1,${LONGEST}})\\\)`);
// Nor do a capital letter, `_` and `{` follow: those continue the name of a shell's variable or of a currency.
const DOLLARS = new RegExp(String.raw`^\$(?![\s$])((?:\\[^]|[^$\\${'`'}]){1,${LONGEST}})(?<!\s)\$(?![\dA-Z_{$])`);
/** What is before a formula, as far as the next character that means something to Markdown, which looks again there. */
const INLINE_START = /^[^`*_<![]*?(?=\$(?!\s)|\\[([])/;

/** Code, and displayed formulas that may go over several lines; `$$` only where it stands at the beginning of one. */
const CODE = /(?:^|\n)[ \t>]*(?:(?:[-+*]|\d+[.)])[ \t]+)?(`{3,}|~{3,})[^]*?(?:\n[ \t>]*\1|$)|`[^`\n]*`/;
const DISPLAYED = String.raw`(?<!\\)\\\[(?:(?!\\\]|\n[ \t]*\n)[^]){1,${LONGEST}}|\$\$(?<=(?:^|\n)[ \t]*\$\$)(?:(?!\$\$|\n[ \t]*\n)[^]){1,${LONGEST}}`;
const CODE_OR_DISPLAYED = new RegExp(`${CODE.source}|${DISPLAYED}`, 'g');
/** The beginning of a line in a formula that would be one of a list or a heading, unless a comment ends before it. */
const MISLEADING = /\n(?<!%[^\n]*\n)[ \t]*(?=(?:[-+*]|#{1,6}|\d{1,9}[.)])(?:[ \t]|$)|(?:=+|-+)[ \t]*(?:\n|$))/g;

/**
 * A text in which no line of a displayed formula begins a list. A list is read before what is in it, so in an
 * item the formula would be torn apart. To TeX the end of a line is a space.
 */
export function joinFormulas(text: string): string {
  if (!/\$\$|\\\[/.test(text)) return text;
  return text.replace(CODE_OR_DISPLAYED, (found) => (/^(?:\$\$|\\\[)/.test(found) ? found.replace(MISLEADING, ' ') : found));
}

/** The last formula of a text that is still written, of which only the beginning is known. */
const OPEN_BLOCK = /^ {0,3}(?:\$\$|\\\[)(?:(?!\n[ \t]*\n)[^])*$/;
const OPEN_INLINE = /^(?:\\[([][^]*|\$\$[^]*|\$(?!\s)[^$`]*|\\)$/;
/** Two words in a row are no formula, unless they are the text in one. */
const PROSE = /[A-Za-z]{2,}[ \n]+[A-Za-z]{2,}|^\$\d[\d.,]*[ \n]+[A-Za-z]{2,}/;
const COMMAND = /\\(?:text\w*|mbox|operatorname|math\w+)\s*\{[^}]*\}?|\\[A-Za-z]+/g;

function formula(type: string, raw: string, tex: string | undefined, display: boolean): Formula | undefined {
  return tex?.trim() ? { type, raw, tex: tex.trim(), display } : undefined;
}

function isOpen(source: string): boolean {
  return OPEN_INLINE.test(source) && !PROSE.test(source.replace(COMMAND, '\\'));
}

/** A text as far as its first paragraph goes: each one is searched for a formula, and the rest of a long text is long. */
function firstParagraph(source: string): string {
  const end = source.search(/\n[ \t]*\n/);
  return end < 0 ? source : source.slice(0, end);
}

/** The extensions of Markdown for formulas; the open one at the end of a text that is `growing` is not shown. */
export function formulas(growing: boolean): TokenizerAndRendererExtension[] {
  const renderer = (token: Tokens.Generic): string => {
    const { tex, display } = token as Formula;
    if (!tex) return '';
    return `<span dir="ltr" class="${display ? 'formula formula-display' : 'formula'}" data-tex="${escapeHtml(tex)}"${display ? ' tabindex="0"' : ''}><code>${escapeHtml(tex)}</code></span>`;
  };
  const hidden = (type: string, raw: string): Formula => ({ type, raw, tex: '', display: false });
  return [
    {
      name: 'formulaBlock',
      level: 'block',
      start: (source) => firstParagraph(source).match(BLOCK_START)?.index,
      tokenizer(source) {
        const match = BLOCK.exec(source);
        if (match) return formula('formulaBlock', match[0], match[1] ?? match[2], true);
        return growing && OPEN_BLOCK.test(source) ? hidden('formulaBlock', source) : undefined;
      },
      renderer,
    },
    {
      name: 'formula',
      level: 'inline',
      start: (source) => INLINE_START.exec(source)?.[0].length,
      tokenizer(source, before) {
        const display = INLINE_DISPLAY.exec(source);
        if (display) return formula('formula', display[0], display[1] ?? display[2], true);
        // The dollar sign of US$5 begins nothing.
        if (source.startsWith('$') && /\w$/.test(before.at(-1)?.raw ?? '')) return undefined;
        const inline = PARENTHESES.exec(source) ?? DOLLARS.exec(source);
        if (inline) return formula('formula', inline[0], inline[1], false);
        return growing && isOpen(source) ? hidden('formula', source) : undefined;
      },
      renderer,
    },
  ];
}
