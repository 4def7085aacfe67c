import { expect, test } from 'vitest';
import { placeholderNode } from './state';
import { isFromUser, nodeAuthor } from './titles';

const node = (changes: object) => ({ ...placeholderNode('s'), ...changes });
const author = (changes: object) => nodeAuthor(node(changes), (id) => id.toUpperCase());

test('only what a user has written is called "You"', () => {
  expect(author({ author: 'user' })).toBe('You');
  expect(isFromUser(node({ author: 'assistant' }))).toBe(false);
  expect(author({ author: 'assistant' })).toBe('Answer, added manually');
  expect(author({ author: 'system' })).toBe('System, added manually');
});

test('an answer is called by its author, else by its worker', () => {
  expect(author({ author: 'gpt-5', runId: 'r', workerId: 'openai_worker' })).toBe('gpt-5');
  expect(author({ author: 'assistant', runId: 'r', workerId: 'echo' })).toBe('ECHO');
  expect(author({ author: 'echo', runId: 'r', workerId: 'echo' })).toBe('ECHO');
});
