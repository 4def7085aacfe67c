/** What the service takes, and what it tells the page. */

/** Who answers; which worker that is, the server's PANEL_AGENTS says. */
export type AgentType = 'rag' | 'document' | 'task';

/** How a chat is connected. `offline`: it is tried again once the page has focus, a network or a click. */
export type Status = 'online' | 'connecting' | 'offline';

/** A file that a message names. */
export interface ChatFile {
  id: string;
  name: string;
  type: string;
  size: number;
}

/** A passage of a document of the knowledge base. */
export interface Passage {
  document: string;
  /** The headings above it, the outermost first. */
  titles: readonly string[];
  /** Among the passages of its document, from 0. */
  position: number;
  text: string;
}

/** A whole message. */
export interface ChatMessage {
  id: string;
  sender: 'user' | 'agent';
  content: string;
  /** When it was written, as ISO 8601 has it. */
  timestamp: string;
  type: string;
  channel: string;
  author: string | null;
  data: Record<string, unknown>;
  files: ChatFile[] | null;
  status: string;
}

/** A session with some of its messages, oldest first. */
export interface ChatHistory {
  session_id: string;
  agent_type: AgentType;
  project_id: string | null;
  messages: ChatMessage[];
  /** Leads to the messages before these; null: there are none. */
  next: string | null;
}

/** Where a piece of an answer belongs. */
export interface ChunkOrigin {
  /** The event of the log; null for the text so far of a message that is being written. */
  id: string | null;
  runId: string | null;
  messageId: string;
}

/** How a run has ended. */
export interface Completion {
  runId: string;
  status: string;
}

/** Something that has not worked; `code` is for programs. */
export class ChatError extends Error {
  constructor(
    message: string,
    readonly code: string,
    /** The run that has failed, where it is about one. */
    readonly runId: string | null = null,
  ) {
    super(message);
    this.name = 'ChatError';
  }
}

export type MessageHandler = (message: ChatMessage) => void;
export type TypingHandler = (isTyping: boolean) => void;
export type ChunkHandler = (content: string, origin: ChunkOrigin) => void;
export type CompleteHandler = (completion: Completion) => void;
export type ErrorHandler = (error: ChatError) => void;
export type StatusHandler = (status: Status) => void;
/** Told that a chat has expired, and which one its handlers have moved to. */
export type SessionHandler = (sessionId: string, expiredId: string) => void;

/** What a new session of a chat is like. */
export interface SessionKind {
  projectId?: string | undefined;
  agentType: AgentType;
}

/** What `connectWebSocket` may be told further. */
export interface ConnectOptions {
  /** Tell the newest messages first, behind `onReset`. */
  history?: boolean;
  /** What was told does not count any more; all that does comes next. */
  onReset?: (reason: string) => void;
  /** A message has been stored, or was refused for good. */
  onSent?: (clientId: string, result: { runId: string } | ChatError) => void;
  /** The session that takes this one's place once it has expired; by default as it was created. */
  renewAs?: SessionKind;
}

/** A message that waits to be sent. */
export interface UnsentMessage {
  clientId: string;
  message: string;
  context: Record<string, unknown> | null;
  /** The ids of uploaded files. */
  files: readonly string[];
}

/** A message that is stored: the run that answers it, or that reads it as it goes on. */
export interface Sent {
  run_id: string;
  client_id: string;
}

/** How a service reaches its server, and what it does when it cannot. Times are milliseconds. */
export interface ServiceOptions {
  /** The address of the installation; by default the one that this script was loaded from. */
  server?: string;
  /** Gives a token for whoever uses the page; without one the browser's cookie serves. */
  token?: (() => string | Promise<string>) | null;
  maxReconnectAttempts?: number;
  reconnectInterval?: number;
  heartbeatInterval?: number;
  enableAutoReconnect?: boolean;
  enableHeartbeat?: boolean;
}
