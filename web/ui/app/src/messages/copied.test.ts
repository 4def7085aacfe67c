import type { Message } from '@branchline/client/api/types';
import { expect, it } from 'vitest';
import { asMarkdown, asPlainText } from './copied';

const message = (type: Message['type'], content: string, rest: Partial<Message> = {}) =>
  ({ type, content, channel: 'answer', role: 'assistant', data: {}, ...rest }) as Message;

const ANSWER = [
  message('text', 'Let me think.', { channel: 'reasoning' }),
  message('text', 'The **sum** is $1 + 2$:\n\n1. one\n2. [two](https://a.example)\n\n- [x] done\n- [ ] open\n\n| a | b |\n|---|---|\n| 1 | `2` |\n'),
  message('text', '<think>\nHm.\n</think>\n'),
  message('function', '{"a": 1}', { data: { name: 'add' } }),
  message('function', '3', { role: 'tool' }),
  message('code', 'print("```")\n', { data: { language: 'python' } }),
  message('console', '\x1b[32m3\x1b[0m\n'),
  message('image', 'A red dot', { data: { url: 'data:image/png;base64,AA==' } }),
];

it('an answer is copied as Markdown', () => {
  expect(asMarkdown(ANSWER)).toBe(
    `${ANSWER[1]?.content.trim()}\n\n\`\`\`\`python\nprint("\`\`\`")\n\`\`\`\`\n\n\`\`\`console\n3\n\`\`\``,
  );
});

it('an answer is copied with its sources', () => {
  const sources = [{ number: 2, document: 'leases.md', titles: ['Renewal'], text: '' }];
  const answer = [message('text', 'Each second [2].', { data: { sources } })];
  expect(asMarkdown(answer)).toBe('Each second [2].\n\n- [2] leases.md › Renewal');
  expect(asPlainText(answer)).toBe('Each second [2].\n\n• [2] leases.md › Renewal');
});

it('an answer is copied as plain text', () => {
  expect(asPlainText(ANSWER)).toBe(
    'The sum is 1 + 2:\n\n1. one\n2. two\n\n• ☑ done\n• ☐ open\n\na\tb\n1\t2\n\nprint("```")\n\n3',
  );
});

it.each([
  ['# Title\n\n> quoted *words*\n\nline\\\nbreak', 'Title\n\nquoted words\n\nline\nbreak'],
  ['- a\n  - b\n- c\n\n  d', '• a\n  • b\n• c\n  d'],
  ['```js\nx < 1\n```', 'x < 1'],
  ['a \\* c', 'a * c'],
  ['H<sub>2</sub>O<br>and *x*', 'H2O\nand x'],
  ['`&amp;` and a <tag>', '&amp; and a <tag>'],
  ['7. x', '7. x'],
])('%j as plain text', (text, plain) => expect(asPlainText([message('text', text)])).toBe(plain));

it('what a person wrote is copied as it is', () => {
  expect(asMarkdown([message('text', ' *a*\n', { role: 'user' })])).toBe(' *a*\n');
});
