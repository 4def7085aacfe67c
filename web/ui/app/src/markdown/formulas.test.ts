import type { Token } from 'marked';
import { describe, expect, it } from 'vitest';
import { type Formula, formulas } from './formulas';
import { blocks } from './render';

/** What a text shows: its words, with `⟨…⟩` for a formula in a line and `⟪…⟫` for a displayed one. */
function shown(text: string, growing = false): string {
  const walk = (token: Token): string => {
    if (token.type === 'formula' || token.type === 'formulaBlock') {
      const { tex, display } = token as Formula;
      return tex ? (display ? `⟪${tex}⟫` : `⟨${tex}⟩`) : '';
    }
    if (token.type === 'list') return token['items'].map((item: Token) => `• ${walk(item)}`).join('\n');
    if (token.type === 'table') return [token['header'], ...token['rows']].map((row) => row.map((cell: { tokens: Token[] }) => cell.tokens.map(walk).join('')).join(' | ')).join('\n');
    if ('tokens' in token && token.tokens) return token.tokens.map(walk).join('');
    return 'text' in token ? token.text : '';
  };
  return blocks(text, growing).map(walk).join('\n');
}

describe('formulas in a line', () => {
  it.each([
    ['$x$', '⟨x⟩'],
    ['a $x^2$, and $y_1$.', 'a ⟨x^2⟩, and ⟨y_1⟩.'],
    ['($x$) and *$y$*', '(⟨x⟩) and ⟨y⟩'],
    ['the $n$th and the $x$-axis', 'the ⟨n⟩th and the ⟨x⟩-axis'],
    ['设$x$为整数', '设⟨x⟩为整数'],
    ['$a\nb$', '⟨a\nb⟩'],
    ['$\\$5 + x$', '⟨\\$5 + x⟩'],
    ['**bold $a_1 * b_2 * c$**', 'bold ⟨a_1 * b_2 * c⟩'],
    ['\\(a + b\\), \\( c \\)', '⟨a + b⟩, ⟨c⟩'],
    ['\\(f(x)\\)(y)', '⟨f(x)⟩(y)'],
    ['| a | $x$ |\n|---|---|\n| \\(y\\) | 2 |', 'a | ⟨x⟩\n⟨y⟩ | 2'],
    ['# About $x$', 'About ⟨x⟩'],
  ])('%j', (text, expected) => expect(shown(text)).toBe(expected));
});

describe('dollar signs that are none', () => {
  it.each([
    '$5 and then $10',
    'It is $5, and then $10.',
    'between $5 and ($10)',
    '$20,000 and $30,000',
    '($5) or ($10)',
    'US$5 and CA$x',
    '5$ and 6$',
    'a $ b $ c',
    '$ x$',
    '$x $',
    '$HOME/$USER and $A$B',
    'costs $5',
    '$',
    '$$',
    '$$$$',
    'from $5–$10',
  ])('%j', (text) => expect(shown(text)).toBe(text));

  it('in code are code', () => {
    expect(shown('`$x$` and `\\(y\\)` and `$$`')).toBe('$x$ and \\(y\\) and $$');
    expect(shown('use `$$` to begin\nand `$$`\nto end')).toBe('use $$ to begin\nand $$\nto end');
    expect(shown('$5 for `a$`')).toBe('$5 for a$');
    expect(shown('```\n$$\nx\n$$\n```')).toBe('$$\nx\n$$');
  });

  it('with a backslash are characters', () => expect(shown('\\$x\\$ and \\\\(y\\\\)')).toBe('$x$ and \\(y\\)'));
});

describe('displayed formulas', () => {
  it.each([
    ['$$x$$', '⟪x⟫'],
    ['$$\nx\n= y\n- z\n$$', '⟪x\n= y - z⟫'],
    ['\\[ x \\]', '⟪x⟫'],
    ['We have \\[ x \\] for all.', 'We have ⟪x⟫ for all.'],
    ['We have $$x$$ for all.', 'We have ⟪x⟫ for all.'],
    ['- an item: \\[ x \\]\n- $$y$$', '• an item: ⟪x⟫\n• ⟪y⟫'],
    ['1. so\n   \\[\n   a \\\\[2pt] b\n   \\]\n2. c', '• so⟪a \\\\[2pt] b⟫\n• c'],
    ['- so\n\\[\na\n+ b\n\\]\n- c', '• so⟪a + b⟫\n• c'],
    ['- so\n$$\na\n=\nb\n$$\n- c', '• so⟪a =\nb⟫• c'],
    ['- so \\[ a\n  + b \\]\n- c', '• so ⟪a + b⟫\n• c'],
    ['1. so \\[ a % or\n  b \\]', '• so ⟪a % or\n  b⟫'],
    ['- dear $$\n- dearer $$', '• dear $$\n• dearer $$'],
    ['- `\\[`\n- `\\]`', '• \\[\n• \\]'],
    ['- ```\n  \\[\n  - a\n  \\]\n  ```', '• \\[\n- a\n\\]'],
    ['> \\[ x \\]', '⟪x⟫'],
    ['Then\n\\[\na\n\\]\nholds', 'Then\n⟪a⟫\nholds'],
    ['Then \\[\na\n- b\n\\]\nholds', 'Then \n⟪a - b⟫\nholds'],
    ['$$a \\$ b$$', '⟪a \\$ b⟫'],
    ['\\begin', '\\begin'],
    ['$$\na\n\nb', '$$\na\nb'],
  ])('%j', (text, expected) => expect(shown(text)).toBe(expected));
});

describe('a text that is still written', () => {
  const FORMULAS = [
    'Let \\(f(x) = \\frac{a}{b}\\)',
    'Let $f(x) = \\text{if it is true} \\cdot \\sin x$',
    'Then\n\n$$\n\\begin{cases} a & \\text{if it is} \\\\ b \\end{cases}\n$$',
    'Then \\[ \\int_0^1 x \\, dx \\]',
    '- an item \\[ x_1 * y_2 * z \\]',
    '- an item\n\\[\nx\n+ y\n\\]',
  ];
  it.each(FORMULAS)('shows no part of a formula before it is whole: %j', (text) => {
    const whole = shown(text);
    const words = whole.slice(0, whole.search(/[⟨⟪]/)).trim();
    for (let end = 1; end < text.length; end += 1) {
      const part = shown(text.slice(0, end), true).trim();
      // A list begins with a rule or a word, before it is one.
      expect(words.startsWith(part) || part === '-' || part === '').toBe(true);
    }
    expect(shown(text, true)).toBe(whole);
  });

  it.each([
    ['It costs $5 and', 'It costs $5 and'],
    ['The variable $HOME is the', 'The variable $HOME is the'],
    ['```sh\necho $$ \\(', 'echo $$ \\('],
    ['The process $$ is the', 'The process $$ is the'],
  ])('hides no words: %j', (text, expected) => expect(shown(text, true)).toBe(expected));

  it('shows what was never closed once it is complete', () => expect(shown('a \\(b')).toBe('a (b'));
});

it('a formula is looked for in what is read next only, or a long text would be searched for each of its parts', () => {
  const [block, inline] = formulas(false).map((one) => (source: string) => ('start' in one ? one.start?.call({} as never, source) : null));
  expect(block?.('a\n$$\nx\n$$')).toBe(2);
  expect(block?.('a\n \nb\n$$\nx\n$$')).toBeUndefined();
  expect(inline?.('a $x$')).toBe(2);
  expect(inline?.('a *b* $x$')).toBeUndefined();
});

it('a text full of beginnings is read quickly', () => {
  const before = performance.now();
  for (const start of ['\\(', '\\[', '$a ', '$$a\n']) shown(start.repeat(3000));
  expect(performance.now() - before).toBeLessThan(5000);
});
