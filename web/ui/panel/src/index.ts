/** The package's entrance: `<agent-chat-panel>`, and the client of agent chats that it is made on. */
export * from './element';
export * from './service';
