/** The client of agent chats: sessions, their sockets, and what is sent to them. */
import { Chat, type Handlers, type Shared } from './chat';
import { type SocketFactory, socketIo } from './connection';
import { keep, kept } from '../browser/storage';
import { Outbox } from './outbox';
import { Rest } from './rest';
import { Tokens } from './tokens';
import type {
  AgentType,
  ChatFile,
  ChatHistory,
  ChunkHandler,
  CompleteHandler,
  ConnectOptions,
  ErrorHandler,
  MessageHandler,
  Passage,
  Sent,
  ServiceOptions,
  SessionHandler,
  SessionKind,
  Status,
  StatusHandler,
  TypingHandler,
  UnsentMessage,
} from './types';
import { uuid } from './uuid';

const DEFAULTS = {
  maxReconnectAttempts: 5,
  reconnectInterval: 1000,
  heartbeatInterval: 30_000,
  enableAutoReconnect: true,
  enableHeartbeat: true,
};

/** Where this script comes from is where the server is: `/static/panel` and `/ui/assets` are below its address. */
function ownServer(): string {
  const { origin, pathname } = new URL(import.meta.url);
  return origin + (/^(.*?)\/(?:static\/panel|ui\/assets)\//.exec(pathname)?.[1] ?? '');
}

export class AgentChatService {
  private readonly kinds = new Map<string, SessionKind>();
  private readonly chats = new Map<string, Chat>();
  /** The sessions that have taken the place of others. */
  private readonly successors = new Map<string, string>();
  private readonly statusHandlers = new HandlerSets<StatusHandler>();
  private readonly sessionHandlers = new HandlerSets<SessionHandler>();
  private readonly outbox = new Outbox();
  private shared!: Shared;

  constructor(options?: ServiceOptions);
  /** @internal Tests connect otherwise. */
  constructor(options: ServiceOptions | undefined, factory: SocketFactory);
  constructor(
    options: ServiceOptions = {},
    private readonly factory: SocketFactory = socketIo,
  ) {
    this.configure(options);
  }

  /** Say where the server is, and how it is reached, before the first call. What is left out is as by default. */
  configure({ server, token = null, ...reconnecting }: ServiceOptions): void {
    const tokens = new Tokens(token);
    const base = (server ?? ownServer()).replace(/\/$/, '');
    const rest = new Rest({ base, token: () => tokens.get(), refused: () => tokens.refused() });
    this.shared = { server: base, options: { ...DEFAULTS, ...reconnecting }, tokens, rest, outbox: this.outbox, factory: this.factory };
  }

  /** The address of the installation. */
  get server(): string {
    return this.shared.server;
  }

  /**
   * Begin a chat; `continues` is one that is full, which it goes on with. Throws `Problem`, with the status 422
   * where the server has no agent of that type.
   */
  async createSession(projectId?: string, agentType: AgentType = 'rag', continues?: string): Promise<{ session_id: string }> {
    const made = await this.shared.rest.createSession(agentType, projectId, continues);
    this.kinds.set(made.session_id, { projectId, agentType });
    keep(await this.lastKey({ projectId, agentType }), made.session_id);
    return made;
  }

  /** The chat that the same user has begun here last, with the same agent; else a new one. Throws as `createSession` does. */
  async resumeSession(projectId?: string, agentType: AgentType = 'rag'): Promise<{ session_id: string }> {
    const last = kept(await this.lastKey({ projectId, agentType }));
    if (last) {
      this.kinds.set(last, { projectId, agentType });
      return { session_id: last };
    }
    return this.createSession(projectId, agentType);
  }

  /** A chat with its newest messages, or those before `cursor`. Throws `Problem`. */
  getSession(sessionId: string, { limit = 50, cursor = null }: { limit?: number; cursor?: string | null } = {}): Promise<ChatHistory> {
    return this.shared.rest.history(this.current(sessionId), limit, cursor);
  }

  /** End a chat; its messages are in the trash then. Throws `Problem`. */
  async deleteSession(sessionId: string): Promise<void> {
    this.disconnectWebSocket(sessionId);
    await this.shared.rest.deleteSession(this.current(sessionId));
  }

  /**
   * Be told what happens in a chat, until `disconnectWebSocket`. It stays connected by itself, and is told
   * each piece once. Where there was a connection to it, that ends.
   */
  connectWebSocket(
    sessionId: string,
    onMessage: MessageHandler,
    onTyping: TypingHandler,
    onChunk: ChunkHandler,
    onComplete: CompleteHandler,
    onError: ErrorHandler = () => {},
    options: ConnectOptions = {},
  ): void {
    this.disconnectWebSocket(sessionId);
    const id = this.current(sessionId);
    const handlers: Handlers = {
      ...options,
      onMessage,
      onTyping,
      onChunk,
      onComplete,
      onError,
      onStatus: (status) => this.statusHandlers.tell(chat.id, (handler) => handler(status)),
      onRenewed: (renewed, expired) => this.renewed(chat, renewed, expired),
    };
    const chat = new Chat(id, options.renewAs ?? this.kinds.get(id), handlers, this.shared);
    this.chats.set(id, chat);
    chat.open();
  }

  /** End the connection to a chat. What waits to be sent goes out when it is connected again. */
  disconnectWebSocket(sessionId: string): void {
    const id = this.current(sessionId);
    this.chats.get(id)?.close();
    this.chats.delete(id);
  }

  /**
   * Send a message; `context` is the arguments of the run that answers. Resolves once it is stored, which without
   * a connection takes until there is one. Throws `ChatError` or `Problem` where it was refused.
   */
  async sendMessage(
    sessionId: string,
    text: string,
    context: Record<string, unknown> | null = null,
    { clientId = uuid(), files = [] }: { clientId?: string; files?: readonly string[] } = {},
  ): Promise<Sent> {
    const message: UnsentMessage = { clientId, message: text, context, files };
    const id = this.current(sessionId);
    const chat = this.chats.get(id);
    return chat ? chat.send(message) : this.shared.rest.send(id, message);
  }

  /** The messages that wait to be sent, oldest first. */
  async unsentMessages(sessionId: string): Promise<UnsentMessage[]> {
    return (await this.chats.get(this.current(sessionId))?.unsent()) ?? [];
  }

  /** Cancel what the agent does. Throws `ChatError`. */
  stop(sessionId: string): Promise<void> {
    return this.connected(sessionId).ask('stop');
  }

  /** Answer the agent's question, a message of the type `confirmation`. Throws `ChatError`. */
  answer(sessionId: string, answer: unknown, confirmationId: string | null = null): Promise<void> {
    return this.connected(sessionId).ask('answer', { answer, confirmation_id: confirmationId });
  }

  /** Upload a file for a message. Throws `Problem`. */
  uploadFile(file: File): Promise<ChatFile> {
    return this.shared.rest.upload(file);
  }

  /** The content of a file that a message names. Throws `Problem`. */
  downloadFile(id: string): Promise<Blob> {
    return this.shared.rest.download(id);
  }

  /**
   * Passages of a document that an answer cites, from a position on. A token of a user of yours reads those that
   * answers in its chats cite. Throws `Problem`, with the status 404 where there are none.
   */
  readPassages(sourceId: string, documentId: string, first = 0, limit = 5): Promise<readonly Passage[]> {
    return this.shared.rest.passages(sourceId, documentId, first, limit);
  }

  getConnectionStatus(sessionId: string): Status {
    return this.chats.get(this.current(sessionId))?.status ?? 'offline';
  }

  onStatusChange(sessionId: string, handler: StatusHandler): void {
    this.statusHandlers.add(this.current(sessionId), handler);
  }

  offStatusChange(sessionId: string, handler: StatusHandler): void {
    this.statusHandlers.remove(this.current(sessionId), handler);
  }

  /** Be told when a chat has expired, and which one its handlers have moved to. */
  onSessionChange(sessionId: string, handler: SessionHandler): void {
    this.sessionHandlers.add(this.current(sessionId), handler);
  }

  offSessionChange(sessionId: string, handler: SessionHandler): void {
    this.sessionHandlers.remove(this.current(sessionId), handler);
  }

  private connected(sessionId: string): Chat {
    const chat = this.chats.get(this.current(sessionId));
    if (!chat) throw new Error(`Call connectWebSocket for the session ${sessionId} first.`);
    return chat;
  }

  private async lastKey({ projectId = '', agentType }: SessionKind): Promise<string> {
    return ['session', this.shared.server, (await this.shared.tokens.owner()) ?? '', agentType, projectId].join(' ');
  }

  /** The session that a page means by the id of one that has expired since. */
  private current(sessionId: string): string {
    let id = sessionId;
    for (let next = this.successors.get(id); next; next = this.successors.get(id)) id = next;
    return id;
  }

  private renewed(chat: Chat, sessionId: string, expiredId: string): void {
    this.chats.delete(expiredId);
    this.chats.set(sessionId, chat);
    const kind = this.kinds.get(expiredId);
    if (kind) {
      this.kinds.set(sessionId, kind);
      void this.lastKey(kind).then((key) => kept(key) === expiredId && keep(key, sessionId));
    }
    this.successors.set(expiredId, sessionId);
    this.statusHandlers.move(expiredId, sessionId);
    this.sessionHandlers.move(expiredId, sessionId);
    this.sessionHandlers.tell(sessionId, (handler) => handler(sessionId, expiredId));
  }
}

/** The handlers of each session. */
class HandlerSets<Handler> {
  private readonly of = new Map<string, Set<Handler>>();

  add(sessionId: string, handler: Handler): void {
    this.of.set(sessionId, (this.of.get(sessionId) ?? new Set()).add(handler));
  }

  remove(sessionId: string, handler: Handler): void {
    this.of.get(sessionId)?.delete(handler);
  }

  move(from: string, to: string): void {
    const moved = this.of.get(from);
    this.of.delete(from);
    if (moved) this.of.set(to, moved);
  }

  tell(sessionId: string, call: (handler: Handler) => void): void {
    for (const handler of [...(this.of.get(sessionId) ?? [])]) call(handler);
  }
}

/** The one that a page shares. */
export const agentChatService = new AgentChatService();
