import { expect, it } from 'vitest';
import { plainOutput, terminal } from './output';

it.each([
  ['plain\ntext', 'plain\ntext'],
  ['\x1b[31mred\x1b[0m', 'red'],
  ['10 %\r20 %\r100 %\n', '100 %\n'],
  ['downloading\rdone', 'doneloading'],
  ['downloading\r\x1b[Kdone', 'done'],
  ['abc\x1b[2Kd', '   d'],
  ['windows\r\nlines\r\n', 'windows\nlines\n'],
  ['ab\b\bc', 'cb'],
  ['\x1b]0;a title\x07text\x1b]8;;https://a.example\x1b\\link\x1b]8;;\x1b\\', 'textlink'],
  ['\x1b[2J\x1b[H\x1b[?25lhidden cursor\x1b(B', 'hidden cursor'],
  ['bell\x07 and nul\x00', 'bell and nul'],
  ['cut off \x1b[3', 'cut off '],
  ['a\tb', 'a\tb'],
])('%j', (output, shown) => expect(plainOutput(output)).toBe(shown));

it('keeps the colours of the terminal', () => {
  expect(terminal('\x1b[1;31mred\x1b[22m thin\x1b[39m none \x1b[92mgreen\x1b[m.')).toEqual([
    { text: 'red', style: 'ansi-bold ansi-red' },
    { text: ' thin', style: 'ansi-red' },
    { text: ' none ', style: '' },
    { text: 'green', style: 'ansi-green' },
    { text: '.', style: '' },
  ]);
});

it('takes no number of a larger palette for a code', () => {
  expect(terminal('\x1b[38;5;1mone\x1b[48;2;4;31;7mtwo\x1b[0;32mthree')).toEqual([
    { text: 'onetwo', style: '' },
    { text: 'three', style: 'ansi-green' },
  ]);
});

it('a written over part keeps the style of what is left', () => {
  expect(terminal('\x1b[32mgreen\x1b[0m line\rred')).toEqual([
    { text: 'red', style: '' },
    { text: 'en', style: 'ansi-green' },
    { text: ' line', style: '' },
  ]);
});
