/** The package's entrance: `<agent-chat-panel>`, and the client of agent chats that it is made on. */
import { define } from './element/AgentChatPanel';

export { AgentChatPanel, type Mode } from './element/AgentChatPanel';
export type { PanelEvents } from './element/ChatController';
export { type Labels, LABELS } from './element/labels';
export { AgentChatService, agentChatService } from './service/agentChatService';
export * from './service/types';

define();
