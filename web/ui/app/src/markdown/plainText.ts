/** A text in Markdown without its marks, for programs that do not know them. */
import { PLAIN_TAG } from '@branchline/client/markdown/safeMarkdown';
import type { Token, Tokens } from 'marked';
import type { Formula } from './formulas';
import { blocks } from './render';

export function plainText(text: string): string {
  return blocks(text).map(block).filter(Boolean).join('\n\n');
}

function block(token: Token): string {
  switch (token.type) {
    case 'list': {
      const { items, ordered, start } = token as Tokens.List;
      return items.map((item, index) => listItem(item, ordered ? `${Number(start) + index}. ` : '• ')).join('\n');
    }
    case 'blockquote':
      return (token as Tokens.Blockquote).tokens.map(block).filter(Boolean).join('\n\n');
    case 'table': {
      const { header, rows } = token as Tokens.Table;
      return [header, ...rows].map((row) => row.map((cell) => inline(cell.tokens)).join('\t')).join('\n');
    }
    case 'hr':
      return '---';
    case 'space':
      return '';
    default:
      return inline([token]);
  }
}

function listItem(item: Tokens.ListItem, mark: string): string {
  const text = item.tokens.map(block).filter(Boolean).join('\n').replace(/^(☑|☐)\n/, '$1 ');
  return mark + text.replaceAll('\n', `\n${' '.repeat(mark.length)}`);
}

function inline(tokens: readonly Token[]): string {
  return tokens
    .map((token) => {
      if (token.type === 'formula' || token.type === 'formulaBlock') return (token as Formula).tex;
      if (token.type === 'br') return '\n';
      if (token.type === 'checkbox') return (token as Tokens.Checkbox).checked ? '☑' : '☐';
      if (token.type === 'html') return (token as Tokens.HTML).text.replace(/<br\s*\/?>/gi, '\n').replace(PLAIN_TAG, '');
      if ('tokens' in token && token.tokens) return inline(token.tokens);
      const text = 'text' in token ? (token.text as string) : token.raw;
      return token.type === 'text' || token.type === 'image' ? withCharacters(text) : text;
    })
    .join('');
}

/** A text with the characters that its entities (`&amp;`) stand for. */
function withCharacters(text: string): string {
  return text.replace(/&(?:#x?[\da-f]+|\w+);/gi, (entity) => {
    const area = document.createElement('textarea');
    area.innerHTML = entity;
    return area.value;
  });
}
