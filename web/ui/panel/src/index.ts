/** The package's entrance: the client of agent chats. */
export { AgentChatService, agentChatService } from './service/agentChatService';
export * from './service/types';
