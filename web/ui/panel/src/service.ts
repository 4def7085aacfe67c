/** The client of agent chats, without the panel. */
export { AgentChatService, agentChatService } from './service/agentChatService';
export * from './service/types';
