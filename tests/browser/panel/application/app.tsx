/** An application that has the package, and uses all of it that has a type. */
import { type AgentChatPanel as Element, LABELS } from '@branchline/panel/element';
import { AgentChatPanel, ArchonChatPanel } from '@branchline/panel/react';
import { agentChatService, AgentChatService, ChatError, type ChatMessage, type Status } from '@branchline/panel/service';
import * as whole from '@branchline/panel';
import { createRef } from 'react';
import { createRoot } from 'react-dom/client';

declare global {
  interface Window {
    whole: typeof whole;
    statuses: Status[];
  }
}

export async function chat(onMessage: (message: ChatMessage) => void): Promise<string> {
  agentChatService.configure({ server: 'https://agents.example.com', token: async () => 'a token', maxReconnectAttempts: 5, reconnectInterval: 1000, heartbeatInterval: 30_000, enableAutoReconnect: true, enableHeartbeat: true });
  const { session_id: id } = await agentChatService.createSession('docs', 'rag');
  const told = (status: Status) => window.statuses.push(status);
  agentChatService.onStatusChange(id, told);
  agentChatService.connectWebSocket(
    id,
    onMessage,
    (isTyping: boolean) => console.log(isTyping),
    (content, { messageId }) => console.log(content.length, messageId),
    ({ runId, status }) => console.log(runId, status),
    (error) => console.log(error instanceof ChatError, error.code),
    { history: true, renewAs: { agentType: 'task' } },
  );
  const sent = await agentChatService.sendMessage(id, 'Hello', { match_count: 3 });
  agentChatService.offStatusChange(id, told);
  agentChatService.disconnectWebSocket(id);
  return sent.run_id;
}

// @ts-expect-error There is no such agent.
void (() => agentChatService.createSession('docs', 'poet'));
// @ts-expect-error It has no such mode.
void (() => <AgentChatPanel mode="upside down" />);

window.whole = whole;
window.statuses = [];
const element: Element = document.createElement('agent-chat-panel');
element.heading = LABELS.title;
element.addEventListener('status-change', ({ detail }) => window.statuses.push(detail.status));
document.body.append(element);

const service = new AgentChatService({ server: 'https://agents.example.com', maxReconnectAttempts: 0 });
const panel = createRef<Element>();
createRoot(document.getElementById('app')!).render(
  <>
    <AgentChatPanel ref={panel} mode="inline" heading="Ours" service={service} onStatusChange={({ status }) => window.statuses.push(status)} />
    <ArchonChatPanel mode="docked" labels={{ open: 'Ask' }} context={{ match_count: 3 }} onAgentMessage={({ message }) => console.log(message.content)} />
  </>,
);
