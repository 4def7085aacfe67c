/** What a chat shows after what was told. */
import { describe, expect, test } from 'vitest';
import type { ChatMessage } from '../service/types';
import * as conversation from './conversation';
import { EMPTY } from './conversation';
import { sourcesOf } from './sources';

const UNSENT = { clientId: 'c', message: 'Hello', context: null, files: [] };

function message(id: string, content: string, more: Partial<ChatMessage> = {}): ChatMessage {
  return { id, content, sender: 'agent', timestamp: '', type: 'text', channel: 'answer', author: null, data: {}, files: [], status: 'complete', ...more };
}

const shown = (chat: conversation.Conversation) => chat.items.map(({ message }) => message.content);

test('an answer grows, and is replaced by the whole message', () => {
  let chat = conversation.grown(EMPTY, 'Good ', { id: '1', runId: 'r', messageId: 'm' });
  chat = conversation.grown(chat, 'morning', { id: '2', runId: 'r', messageId: 'm' });
  expect(chat.items).toMatchObject([{ isGrowing: true, message: { content: 'Good morning' } }]);
  chat = conversation.told(chat, message('m', 'Good morning!'), true);
  expect(chat.items).toMatchObject([{ isGrowing: false, message: { content: 'Good morning!' } }]);
  expect(shown(conversation.grown(chat, ' late', { id: '2', runId: 'r', messageId: 'm' }))).toEqual(['Good morning!']);
});

test('what was written is shown at once, and is one message with what the server tells of it', () => {
  let chat = conversation.written(EMPTY, UNSENT);
  expect(chat.items[0]!.delivery).toEqual({ clientId: 'c', state: 'waiting' });
  expect(conversation.written(chat, UNSENT)).toBe(chat);
  chat = conversation.settled(chat, 'c', null);
  chat = conversation.told(chat, message('m', 'Hello', { sender: 'user' }), true);
  expect(chat.items).toMatchObject([{ delivery: null, message: { id: 'm' } }]);
});

test('a refused message stays until it is taken back', () => {
  const error = { message: 'The chat is full.', code: 'session_full' };
  const chat = conversation.settled(conversation.written(EMPTY, UNSENT), 'c', error);
  expect(chat.items[0]!.delivery).toEqual({ clientId: 'c', state: 'refused', error });
  expect(shown(conversation.reset(chat))).toEqual(['Hello']);
  expect(shown(conversation.withdrawn(chat, 'c'))).toEqual([]);
});

test('a reset keeps what waits only', () => {
  let chat = conversation.told(EMPTY, message('m', 'Old'), true);
  chat = conversation.written(chat, UNSENT);
  expect(shown(conversation.reset(chat))).toEqual(['Hello']);
});

test('earlier messages come first, each once', () => {
  const chat = conversation.told(EMPTY, message('3', 'three'), true);
  expect(shown(conversation.earlier(chat, [message('2', 'two'), message('3', 'three')]))).toEqual(['two', 'three']);
});

test('what comes while nobody looks is counted from its first message on', () => {
  let chat = conversation.told(EMPTY, message('1', 'seen'), true);
  chat = conversation.told(chat, message('2', 'unseen'), false);
  chat = conversation.told(chat, message('t', 'thought', { channel: 'reasoning' }), false);
  chat = conversation.told(chat, message('3', 'unseen'), false);
  expect(chat).toMatchObject({ unread: 2, firstUnread: '2' });
  expect(conversation.seen(chat)).toMatchObject({ unread: 0, firstUnread: '2' });
});

describe('a question', () => {
  const asked = conversation.told(EMPTY, message('q', 'Sure?', { type: 'confirmation' }), true);

  test('waits until it is answered', () => {
    expect(conversation.question(asked)?.id).toBe('q');
    expect(conversation.question(conversation.answered(asked, 'q', 'yes'))).toBeNull();
  });

  test('that was answered elsewhere waits no more', () => {
    expect(conversation.question(conversation.typed(asked, true))).toBeNull();
    expect(conversation.question(conversation.told(asked, message('m', 'Done'), true))).toBeNull();
  });
});

test('a run that failed says why until the next one', () => {
  const failure = { text: 'It did not work out.', isOfRun: true };
  let chat = conversation.failed(conversation.typed(EMPTY, true), failure);
  chat = conversation.completed(chat);
  expect(chat).toMatchObject({ failure, isTyping: false });
  expect(conversation.written(chat, UNSENT).failure).toBeNull();
});

test('what was written before the chat was told stands behind it, and before the answer to it', () => {
  let chat = conversation.written(EMPTY, UNSENT);
  chat = conversation.told(chat, message('1', 'Earlier', { sender: 'user' }), true);
  chat = conversation.grown(chat, 'Go', { id: '1', runId: 'r', messageId: '2' });
  expect(shown(chat)).toEqual(['Earlier', 'Go', 'Hello']);
  chat = conversation.told(conversation.settled(chat, 'c', null), message('2', 'Good.'), true);
  chat = conversation.told(chat, message('3', 'Hello', { sender: 'user' }), true);
  chat = conversation.told(chat, message('4', 'Hi!'), true);
  expect(shown(chat)).toEqual(['Earlier', 'Good.', 'Hello', 'Hi!']);
});

test('a message that was stored before its page was closed is shown once', () => {
  let chat = conversation.told(EMPTY, message('1', 'Hello', { sender: 'user' }), true);
  chat = conversation.written(chat, UNSENT, [], true);
  expect(shown(conversation.settled(chat, 'c', null))).toEqual(['Hello']);
  chat = conversation.written(chat, { ...UNSENT, clientId: 'd' });
  expect(shown(conversation.settled(chat, 'd', null))).toEqual(['Hello', 'Hello', 'Hello']);
});

describe('a message that waits while the chat is told anew', () => {
  const old = message('1', 'Hello', { sender: 'user' });
  const waiting = conversation.told(conversation.reset(conversation.written(conversation.told(EMPTY, old, true), UNSENT)), old, true);

  test('is not taken for an old one with its words', () => {
    expect(shown(waiting)).toEqual(['Hello', 'Hello']);
    const refused = conversation.settled(waiting, 'c', { message: 'The chat is full.', code: 'session_full' });
    expect(refused.items.map(({ delivery }) => delivery?.state)).toEqual([undefined, 'refused']);
  });

  test('is shown once when it is stored', () => {
    const stored = message('2', 'Hello', { sender: 'user' });
    expect(shown(conversation.told(conversation.settled(waiting, 'c', null), stored, true))).toEqual(['Hello', 'Hello']);
    expect(shown(conversation.settled(conversation.told(waiting, stored, true), 'c', null))).toEqual(['Hello', 'Hello']);
  });
});

test('sources are read as the agent gives them, and nothing else', () => {
  const data = { sources: [{ number: 1, document: 'a.md', source: 'docs', titles: ['A'], text: 'Passage' }, { number: 'x' }, null] };
  const known = { number: 1, document: 'a.md', source: 'docs', titles: ['A'], text: 'Passage' };
  expect(sourcesOf(message('m', '', { data }))).toEqual([{ ...known, place: null }]);
  const [sourceId, documentId] = ['01976a3e-0000-7000-8000-00000000000a', '01976a3e-0000-7000-8000-00000000000b'];
  const placed = { ...known, source_id: sourceId, document_id: documentId, position: 3 };
  expect(sourcesOf(message('m', '', { data: { sources: [placed] } }))).toEqual([{ ...known, place: { sourceId, documentId, position: 3 } }]);
  for (const wrong of [{ source_id: '../../me' }, { document_id: `${documentId}/x` }, { position: -1 }, { position: 0.5 }, { position: NaN }]) {
    expect(sourcesOf(message('m', '', { data: { sources: [{ ...placed, ...wrong }] } }))).toEqual([{ ...known, place: null }]);
  }
  expect(sourcesOf(message('m', '', { data: { sources: 'none' } }))).toEqual([]);
});
