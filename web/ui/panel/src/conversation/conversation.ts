/** What a chat shows, as a pure function of what was told and done. */
import type { ChatFile, ChatMessage, ChunkOrigin, UnsentMessage } from '../service/types';

/** A message as it is shown. */
export interface Shown {
  message: ChatMessage;
  /** Whether more of it comes. */
  isGrowing: boolean;
  /** What has become of a message that this page has sent; null: it is stored. */
  delivery: Delivery | null;
}

export interface Delivery {
  clientId: string;
  state: 'waiting' | 'sent' | 'refused';
  /** Whether an earlier page has written it, or it was written before a reset: the server may have stored and told it already. */
  isRestored?: boolean;
  /** Why it was refused. */
  error?: { message: string; code: string };
}

export interface Failure {
  text: string;
  /** Whether asking again may help: a run has failed. */
  isOfRun: boolean;
}

export interface Conversation {
  items: readonly Shown[];
  isTyping: boolean;
  /** What has gone wrong last. */
  failure: Failure | null;
  /** Messages of the agent that came while nobody looked. */
  unread: number;
  /** The first of them. */
  firstUnread: string | null;
}

export const EMPTY: Conversation = { items: [], isTyping: false, failure: null, unread: 0, firstUnread: null };

/** A message of the user that is to be sent; `isRestored`: that an earlier page has written. */
export function written(
  chat: Conversation,
  { clientId, message, files }: UnsentMessage,
  named: readonly ChatFile[] = [],
  isRestored = false,
): Conversation {
  if (chat.items.some(({ delivery }) => delivery?.clientId === clientId)) return chat;
  const known = files.map((id) => named.find((file) => file.id === id) ?? { id, name: '', type: '', size: 0 });
  const shown: Shown = {
    message: blank(clientId, 'user', message, known),
    isGrowing: false,
    delivery: { clientId, state: 'waiting', ...(isRestored ? { isRestored } : {}) },
  };
  return { ...chat, items: [...chat.items, shown], failure: null, firstUnread: chat.unread ? chat.firstUnread : null };
}

/** The server has stored a message, or has refused it. */
export function settled(chat: Conversation, clientId: string, error: Delivery['error'] | null): Conversation {
  const own = chat.items.find(({ delivery }) => delivery?.clientId === clientId);
  if (!error && own?.delivery?.isRestored && wasTold(chat, own)) return withdrawn(chat, clientId);
  const items = chat.items.map((item): Shown => {
    if (item.delivery?.clientId !== clientId) return item;
    return { ...item, delivery: !error ? { clientId, state: 'sent' } : { clientId, state: 'refused', error } };
  });
  return { ...chat, items };
}

/** A refused message is sent again, or taken back. */
export function withdrawn(chat: Conversation, clientId: string): Conversation {
  return { ...chat, items: chat.items.filter(({ delivery }) => delivery?.clientId !== clientId) };
}

/** A whole message. `isSeen`: somebody looks at the end of the chat. */
export function told(chat: Conversation, message: ChatMessage, isSeen: boolean): Conversation {
  const shown: Shown = { message, isGrowing: false, delivery: null };
  const known = chat.items.findIndex((item) => item.message.id === message.id);
  const items = known < 0 ? added(without(chat.items, message), shown) : chat.items.with(known, shown);
  const counts = !isSeen && message.sender === 'agent' && message.channel === 'answer';
  return { ...chat, items, ...(counts ? { unread: chat.unread + 1, firstUnread: chat.firstUnread ?? message.id } : {}) };
}

/** Earlier messages, oldest first. */
export function earlier(chat: Conversation, messages: readonly ChatMessage[]): Conversation {
  const known = new Set(chat.items.map((item) => item.message.id));
  const before = messages.filter(({ id }) => !known.has(id)).map((message): Shown => ({ message, isGrowing: false, delivery: null }));
  return { ...chat, items: [...before, ...chat.items] };
}

/** A piece of an answer. */
export function grown(chat: Conversation, content: string, { messageId }: ChunkOrigin): Conversation {
  const index = chat.items.findIndex((item) => item.message.id === messageId);
  if (index < 0) return { ...chat, items: added(chat.items, { message: blank(messageId, 'agent', content), isGrowing: true, delivery: null }) };
  const item = chat.items[index]!;
  if (!item.isGrowing) return chat;
  return { ...chat, items: chat.items.with(index, { ...item, message: { ...item.message, content: item.message.content + content } }) };
}

/** The agent begins or pauses; when it is at work again, an answer to its question was given. */
export function typed(chat: Conversation, isTyping: boolean): Conversation {
  return { ...chat, isTyping, failure: isTyping ? null : chat.failure };
}

/** A run has ended: what it was writing is as it stays. */
export function completed(chat: Conversation): Conversation {
  return { ...chat, isTyping: false, items: chat.items.map((item) => (item.isGrowing ? { ...item, isGrowing: false } : item)) };
}

export function failed(chat: Conversation, failure: Failure): Conversation {
  return { ...chat, failure };
}

/** What was told counts no more; what waits to be sent does. */
export function reset(chat: Conversation): Conversation {
  const items = chat.items.flatMap((item): Shown[] => {
    if (item.delivery?.state === 'waiting') return [{ ...item, delivery: { ...item.delivery, isRestored: true } }];
    return item.delivery?.state === 'refused' ? [item] : [];
  });
  return { ...EMPTY, items, failure: chat.failure };
}

export function seen(chat: Conversation): Conversation {
  return chat.unread ? { ...chat, unread: 0 } : chat;
}

/** The question that waits for an answer: the agent says nothing until there is one. */
export function question(chat: Conversation): ChatMessage | null {
  const last = chat.items.findLast(({ message }) => message.sender === 'agent')?.message;
  const isOpen = last?.type === 'confirmation' && last.data['answer'] === undefined && last.data['withdrawn'] === undefined;
  return isOpen && !chat.isTyping ? last : null;
}

export function answered(chat: Conversation, messageId: string, answer: unknown): Conversation {
  const items = chat.items.map((item): Shown =>
    item.message.id === messageId ? { ...item, message: { ...item.message, data: { ...item.message.data, answer } } } : item,
  );
  return { ...chat, items };
}

/** The items with one that was told: before those that the server has not told yet, wherever the user wrote them. */
function added(items: readonly Shown[], shown: Shown): readonly Shown[] {
  const end = items.findLastIndex(({ delivery }) => delivery === null || delivery.state === 'refused') + 1;
  return items.toSpliced(end, 0, shown);
}

function wasTold(chat: Conversation, { message }: Shown): boolean {
  return chat.items.some((item) => item.delivery === null && item.message.sender === 'user' && item.message.content === message.content);
}

/** The items without the one that this page has sent, and that the server tells now. */
function without(items: readonly Shown[], stored: ChatMessage): readonly Shown[] {
  const index = items.findIndex((item) => isSame(item, stored));
  return index < 0 ? items : items.toSpliced(index, 1);
}

/**
 * Whether a message of the server's is the one that this page has sent. One that was written before what is told
 * now may be told as well as an old one with its words: that shows once it is settled.
 */
function isSame({ delivery, message }: Shown, stored: ChatMessage): boolean {
  return delivery !== null && delivery.state !== 'refused' && !delivery.isRestored && stored.sender === 'user' && stored.content === message.content;
}

function blank(id: string, sender: 'user' | 'agent', content: string, files: ChatFile[] | null = null): ChatMessage {
  return { id, sender, content, files, timestamp: new Date().toISOString(), type: 'text', channel: 'answer', author: null, data: {}, status: 'partial' };
}
