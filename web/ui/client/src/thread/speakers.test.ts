import { expect, test } from 'vitest';
import { speakers } from './speakers';

const said = (...authors: (string | null)[]) => authors.map((author) => ({ role: 'assistant' as const, author }));

test('a speaker is named where another one begins', () => {
  expect(speakers(said('crew', 'Planner', 'Planner', 'crew', 'Supervisor'), 'crew')).toEqual([undefined, 'Planner', undefined, null, 'Supervisor']);
});

test('who is named above all messages, or nobody, needs no name', () => {
  expect(speakers(said('crew', null, 'crew'), 'crew')).toEqual([undefined, undefined, undefined]);
});

test('what a user sends meanwhile has no name, and changes no speaker', () => {
  const messages = [...said('Planner'), { role: 'user' as const, author: null }, ...said('Planner')];
  expect(speakers(messages, 'crew')).toEqual(['Planner', undefined, undefined]);
  expect(speakers([{ role: 'user', author: 'auto' }], null)).toEqual(['auto']);
});
