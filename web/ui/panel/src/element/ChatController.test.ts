import { expect, test, vi } from 'vitest';
import type { AgentChatService } from '../service/agentChatService';
import { ChatController, type ChatHost } from './ChatController';

function controller(resumeSession: () => Promise<{ session_id: string }>) {
  const sent: string[] = [];
  const chatService = {
    resumeSession: vi.fn(resumeSession),
    connectWebSocket: () => {},
    onStatusChange: () => {},
    onSessionChange: () => {},
    unsentMessages: async () => [],
    sendMessage: async (_: string, text: string) => void sent.push(text),
  };
  const host = {
    addController: () => {},
    requestUpdate: () => {},
    announce: () => {},
    updateComplete: Promise.resolve(true),
    chatService: chatService as unknown as AgentChatService,
    agentType: 'rag',
    projectId: null,
    sessionId: null,
    context: null,
    isWatched: true,
  } as unknown as ChatHost;
  return { chat: new ChatController(host), begun: chatService.resumeSession, sent };
}

test('messages written while the chat is opened go to that one, in order', async () => {
  let answer!: (session: { session_id: string }) => void;
  const { chat, begun, sent } = controller(() => new Promise((resolve) => (answer = resolve)));
  const all = [chat.open(), chat.send('one'), chat.send('two')];
  answer({ session_id: 's1' });
  await Promise.all(all);
  expect([begun.mock.calls.length, chat.sessionId, sent]).toEqual([1, 's1', ['one', 'two']]);
});

test('where that has failed, the first message opens it again', async () => {
  const { chat, begun, sent } = controller(async () => {
    if (begun.mock.calls.length === 1) throw new Error('The server is away.');
    return { session_id: 's1' };
  });
  await Promise.all([chat.open(), chat.send('one'), chat.send('two')]);
  expect([begun.mock.calls.length, chat.sessionId, sent]).toEqual([2, 's1', ['one', 'two']]);
});
