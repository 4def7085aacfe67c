/**
 * One chat: what its session tells the page, and what the page sends to it. Its session is another one once
 * that has expired; the page's handlers stay.
 */
import { backoff } from './backoff';
import { Connection, type Reconnecting, type SocketFactory } from './connection';
import type { Outbox } from './outbox';
import { encoded, type Rest } from './rest';
import type { Tokens } from './tokens';
import {
  ChatError,
  type ChatMessage,
  type ChunkHandler,
  type CompleteHandler,
  type ConnectOptions,
  type ErrorHandler,
  type MessageHandler,
  type Sent,
  type SessionKind,
  type Status,
  type TypingHandler,
  type UnsentMessage,
} from './types';

/** What chats of one service share. */
export interface Shared {
  server: string;
  options: Reconnecting;
  tokens: Tokens;
  rest: Rest;
  outbox: Outbox;
  factory: SocketFactory;
}

export interface Handlers extends ConnectOptions {
  onMessage: MessageHandler;
  onTyping: TypingHandler;
  onChunk: ChunkHandler;
  onComplete: CompleteHandler;
  onError: ErrorHandler;
  onStatus: (status: Status) => void;
  /** The session has expired, and this one has taken its place. */
  onRenewed: (sessionId: string, expiredId: string) => void;
}

/** Events of the server, as far as they are read. */
interface Told {
  id?: string;
  content?: string;
  data?: ChatMessage;
  is_typing?: boolean;
  run_id?: string | null;
  message_id?: string;
  session_id?: string;
  status?: string;
  reason?: string;
  error?: string;
  code?: string;
}

/** What no further attempt changes. */
const REFUSED: ReadonlySet<string> = new Set([
  'invalid', 'conflict', 'forbidden', 'not_found', 'unknown_worker', 'worker_unavailable',
  'file_refused', 'file_too_large', 'quota_exceeded', 'session_full',
]);

export class Chat {
  private readonly connection: Connection;
  private lastId: string | null = null;
  private hasJoined = false;
  /** The messages that were told since the last reset. */
  private told = new Set<string>();
  /** Who waits for a message to be stored. */
  private readonly waiting = new Map<string, { message: UnsentMessage; resolve: (sent: Sent) => void; reject: (error: ChatError) => void }>();
  private isDelivering = false;
  /** Whether there may be more to deliver than was seen. */
  private isDue = false;
  private failures = 0;
  private retry: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private sessionId: string,
    private readonly kind: SessionKind | undefined,
    private readonly handlers: Handlers,
    private readonly shared: Shared,
  ) {
    const on = {
      join: () => this.join(),
      event: (name: string, data: unknown) => this.event(name, data as Told),
      status: (status: Status) => this.statusChanged(status),
    };
    this.connection = new Connection(shared.server, shared.options, shared.tokens, on, shared.factory);
  }

  get id(): string {
    return this.sessionId;
  }

  get status(): Status {
    return this.connection.status;
  }

  open(): void {
    this.connection.open();
  }

  /** What waits stays, and is sent once the chat is opened again. */
  close(): void {
    clearTimeout(this.retry);
    this.connection.close();
  }

  /** Send a message, at once or when there is a connection. Throws `ChatError` where it was refused for good. */
  async send(message: UnsentMessage): Promise<Sent> {
    await this.shared.outbox.add({ ...message, room: this.room, owner: await this.owner() });
    const sent = new Promise<Sent>((resolve, reject) => this.waiting.set(message.clientId, { message, resolve, reject }));
    void this.deliver();
    return sent;
  }

  /** What waits to be sent, oldest first. */
  async unsent(): Promise<UnsentMessage[]> {
    return this.shared.outbox.list(this.room);
  }

  /** Send one of the other events. Throws `ChatError`. */
  async ask(name: 'stop' | 'answer', more: Record<string, unknown> = {}): Promise<void> {
    if (this.status !== 'online') throw new ChatError('There is no connection.', 'offline');
    const answer = await this.connection.ask(name, { session_id: this.sessionId, ...more });
    if (answer.code) throw new ChatError(answer.error ?? answer.code, answer.code);
  }

  private get room(): string {
    return `${this.shared.server} ${this.sessionId}`;
  }

  private async owner(): Promise<string | null> {
    return this.shared.tokens.owner().catch(() => null);
  }

  private statusChanged(status: Status): void {
    this.handlers.onStatus(status);
    if (status === 'online') void this.deliver();
  }

  /** Go on behind the last event that was told; where there was none, all is told anew. */
  private async join(): Promise<void> {
    const anew = this.hasJoined || this.handlers.history ? '' : null;
    const after = this.lastId ?? anew;
    const answer = await this.connection.ask('join_chat', { session_id: this.sessionId, ...(after === null ? {} : { after }) });
    if (answer.code === 'session_expired') {
      await this.renew();
      return this.join();
    }
    if (answer.code) throw new ChatError(answer.error ?? answer.code, answer.code);
    this.hasJoined = true;
  }

  /** Begin a session in the place of the one that has expired. Throws where there cannot be one. */
  private async renew(): Promise<void> {
    const expired = { id: this.sessionId, room: this.room };
    if (!this.kind) {
      const error = new ChatError('The session has expired.', 'session_expired');
      this.connection.close();
      this.handlers.onError(error);
      throw error;
    }
    try {
      const made = await this.shared.rest.createSession(this.kind.agentType, this.kind.projectId);
      this.sessionId = made.session_id;
    } catch (error) {
      this.handlers.onError(new ChatError(error instanceof Error ? error.message : String(error), 'session_expired'));
      throw error;
    }
    this.lastId = null;
    this.hasJoined = false;
    this.told.clear();
    await this.shared.outbox.move(expired.room, this.room, await this.owner());
    this.handlers.onRenewed(this.sessionId, expired.id);
  }

  private async renewAndJoin(): Promise<void> {
    try {
      await this.renew();
      await this.join();
    } catch {
      this.connection.renew();
      return;
    }
    void this.deliver();
  }

  private event(name: string, data: Told): void {
    if (data.id) this.lastId = data.id;
    switch (name) {
      case 'message':
        return this.message(data.data!);
      case 'stream_chunk':
        return this.handlers.onChunk(data.content!, { id: data.id ?? null, runId: data.run_id ?? null, messageId: data.message_id! });
      case 'typing':
        return this.handlers.onTyping(data.is_typing === true);
      case 'stream_complete':
        return this.handlers.onComplete({ runId: data.run_id!, status: data.status! });
      case 'reset':
        this.told.clear();
        return this.handlers.onReset?.(data.reason!);
      case 'error':
        return this.failed(data);
    }
  }

  private message(message: ChatMessage): void {
    if (this.told.has(message.id)) return;
    this.told.add(message.id);
    this.handlers.onMessage(message);
  }

  /** Other errors are in the answers to the events that they are about. */
  private failed({ code = '', error = '', run_id, session_id }: Told): void {
    if (code === 'run_failed') this.handlers.onError(new ChatError(error, code, run_id));
    // An answer says so as well; this one comes when a chat is deleted.
    else if (code === 'session_expired' && session_id === this.sessionId && this.status === 'online' && !this.isDelivering) void this.renewAndJoin();
  }

  /** Send what waits, in order, unless another tab does. */
  private async deliver(): Promise<void> {
    this.isDue = true;
    if (this.isDelivering || this.status !== 'online') return;
    this.isDelivering = true;
    this.isDue = false;
    clearTimeout(this.retry);
    const next = await this.shared.outbox.alone(this.room, () => this.deliverAll()).finally(() => {
      this.isDelivering = false;
    });
    if (next === 'renew') await this.renewAndJoin();
    else if (next === 'later') this.retry = setTimeout(() => void this.deliver(), backoff((this.failures += 1), this.shared.options.reconnectInterval));
    else if (this.isDue) await this.deliver();
  }

  private async deliverAll(): Promise<Next> {
    let next = await this.deliverOne();
    while (next === 'go on') next = await this.deliverOne();
    return next;
  }

  private async deliverOne(): Promise<Next> {
    if (this.status !== 'online') return 'stop';
    const [kept] = await this.shared.outbox.list(this.room);
    // What another tab has sent is asked for again: the answer is the same.
    const message = kept ?? [...this.waiting.values()][0]?.message;
    if (!message) return 'stop';
    const answer = await this.connection.ask('chat_message', { session_id: this.sessionId, ...encoded(message) }).catch(() => null);
    if (answer === null || answer.code === 'unauthenticated') return 'stop';
    if (answer.code === 'session_expired') return 'renew';
    if (answer.code && !REFUSED.has(answer.code)) return 'later';
    this.failures = 0;
    if (kept) await this.shared.outbox.remove(kept);
    this.settle(message.clientId, answer.run_id ?? new ChatError(answer.error ?? 'It was refused.', answer.code ?? 'invalid'));
    return 'go on';
  }

  private settle(clientId: string, result: string | ChatError): void {
    const waiting = this.waiting.get(clientId);
    this.waiting.delete(clientId);
    if (result instanceof ChatError) waiting?.reject(result);
    else waiting?.resolve({ run_id: result, client_id: clientId });
    this.handlers.onSent?.(clientId, result instanceof ChatError ? result : { runId: result });
  }
}

/** What follows on an attempt to send. */
type Next = 'go on' | 'stop' | 'later' | 'renew';
