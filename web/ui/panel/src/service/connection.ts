/**
 * One chat's connection over Socket.IO: made again when it is lost, and given up after some attempts until
 * there is a reason to try again. Which of the server's events it is about is the business of its user.
 */
import { io, type Socket } from 'socket.io-client';
import { backoff } from './backoff';
import type { Tokens } from './tokens';
import type { ServiceOptions, Status } from './types';

/** What a connection needs of a socket of Socket.IO. */
export type ChatSocket = Pick<Socket, 'connected' | 'active' | 'auth' | 'connect' | 'disconnect' | 'emit' | 'timeout' | 'on' | 'onAny'> & {
  io: Pick<Socket['io'], 'on'>;
};

/** Makes a socket that is not connected yet. */
export type SocketFactory = (server: string) => ChatSocket;

export type Reconnecting = Required<Omit<ServiceOptions, 'server' | 'token'>>;

/** What an event is answered with. */
export interface Answer {
  status?: string;
  run_id?: string;
  error?: string;
  code?: string;
}

/** Milliseconds that it may take to open a connection. */
const OPENED_WITHIN = 10_000;
/** Milliseconds that an answer to an event may take. */
const ANSWERED_WITHIN = 20_000;
/** Events upon which a connection that was given up is tried again. */
const REASONS = ['focus', 'online', 'click'] as const;
/** Milliseconds; a browser's timers take no more than 24 days. */
const DAY = 86_400_000;

export const socketIo: SocketFactory = (server) => {
  const { origin, pathname } = new URL(server);
  const socket = io(origin, {
    path: `${pathname.replace(/\/$/, '')}/socket.io/`,
    // A WebSocket at once, without a request first that each later one would have to follow to the same process.
    transports: ['websocket', 'polling'],
    tryAllTransports: true,
    autoConnect: false,
    forceNew: true,
    reconnection: false,
    timeout: OPENED_WITHIN,
  });
  // A proxy that takes no WebSockets may accept them first, or swallow them: each attempt begins otherwise than the last.
  socket.on('connect_error', () => {
    if (socket.active) socket.io.opts.transports?.reverse();
  });
  return socket;
};

export class Connection {
  status: Status = 'offline';
  private readonly socket: ChatSocket;
  private attempts = 0;
  private retry: ReturnType<typeof setTimeout> | undefined;
  private renewal: ReturnType<typeof setTimeout> | undefined;
  private heartbeat: ReturnType<typeof setInterval> | undefined;
  private isClosed = false;
  private isHeard = true;

  /**
   * `join` is called once a socket is there, and resolves when it can be used; where it throws, the
   * connection is tried again. `onEvent` is told the events of the server, `onStatus` each change.
   */
  constructor(
    server: string,
    private readonly options: Reconnecting,
    private readonly tokens: Tokens,
    private readonly on: { join: () => Promise<void>; event: (name: string, data: unknown) => void; status: (status: Status) => void },
    factory: SocketFactory = socketIo,
  ) {
    this.socket = factory(server);
    this.socket.on('connect', () => void this.joined());
    this.socket.on('disconnect', (reason) => {
      if (reason !== 'io client disconnect') this.lost();
    });
    this.socket.on('connect_error', () => {
      // One that is not active any more was refused by the server, and not merely not reached.
      if (!this.socket.active) this.tokens.refused();
      this.lost();
    });
    this.socket.onAny((name: string, data: unknown) => {
      this.isHeard = true;
      this.on.event(name, data);
    });
    this.socket.io.on('ping', () => {
      this.isHeard = true;
    });
  }

  /** Connect, and stay connected until `close`. */
  open(): void {
    globalThis.addEventListener?.('offline', this.suspend);
    void this.connect();
  }

  close(): void {
    this.isClosed = true;
    globalThis.removeEventListener?.('offline', this.suspend);
    this.rest();
    this.setStatus('offline');
  }

  /** Send an event; its answer. Throws where there is no answer in time, and the connection is made anew then. */
  async ask(name: string, data: Record<string, unknown>): Promise<Answer> {
    let answer: Answer;
    try {
      answer = (await new Promise<Answer>((resolve, reject) => {
        this.socket.timeout(ANSWERED_WITHIN).emit(name, data, (error: Error | null, given: Answer) => (error ? reject(error) : resolve(given)));
      })) ?? {};
    } catch (error) {
      this.renew();
      throw error;
    }
    if (answer.code === 'unauthenticated') {
      this.tokens.refused();
      this.renew();
    }
    return answer;
  }

  /** Leave the connection for another one, as if it were lost. */
  renew(): void {
    if (this.isClosed || !this.socket.connected) return;
    this.socket.disconnect();
    this.lost();
  }

  private async connect(): Promise<void> {
    this.forget();
    if (this.isClosed) return;
    this.setStatus('connecting');
    try {
      this.socket.auth = tokenAuth(await this.tokens.get());
    } catch {
      return this.lost();
    }
    if (!this.isClosed) this.socket.connect();
  }

  private async joined(): Promise<void> {
    try {
      await this.on.join();
    } catch {
      return this.renew();
    }
    if (!this.socket.connected || this.isClosed) return;
    this.attempts = 0;
    this.renewInTime();
    this.listen();
    this.setStatus('online');
  }

  /** Try again later, or give it up for now. */
  private lost(): void {
    this.rest();
    if (this.isClosed) return;
    if (!this.options.enableAutoReconnect) return this.setStatus('offline');
    this.attempts += 1;
    if (this.attempts > this.options.maxReconnectAttempts) return this.giveUp();
    this.setStatus('connecting');
    this.retry = setTimeout(() => void this.connect(), backoff(this.attempts, this.options.reconnectInterval));
    globalThis.addEventListener?.('online', this.resume, true);
  }

  private giveUp(): void {
    this.setStatus('offline');
    for (const reason of REASONS) globalThis.addEventListener?.(reason, this.resume, true);
  }

  /** The browser has no network: a socket would not notice for a while. */
  private readonly suspend = (): void => {
    this.rest();
    this.attempts = 0;
    this.giveUp();
  };

  private readonly resume = (): void => {
    this.attempts = 0;
    void this.connect();
  };

  /** Replace the token before it expires, and the connection, which has shown the old one. */
  private renewInTime(): void {
    const { remaining } = this.tokens;
    if (remaining === null) return;
    const renew = () => ((this.tokens.remaining ?? 0) > 0 ? this.renewInTime() : this.reconnect());
    this.renewal = setTimeout(renew, Math.min(Math.max(remaining, this.options.reconnectInterval), DAY));
  }

  private reconnect(): void {
    this.rest();
    void this.connect();
  }

  /** Leave a connection from which nothing comes any more, not even the server's pings. */
  private listen(): void {
    if (!this.options.enableHeartbeat) return;
    let silent = 0;
    this.isHeard = true;
    this.heartbeat = setInterval(() => {
      silent = this.isHeard ? 0 : silent + 1;
      this.isHeard = false;
      if (silent === 2) this.renew();
    }, this.options.heartbeatInterval);
  }

  private rest(): void {
    this.forget();
    clearTimeout(this.renewal);
    clearInterval(this.heartbeat);
    this.socket.disconnect();
  }

  /** Wait for nothing any more. */
  private forget(): void {
    clearTimeout(this.retry);
    for (const reason of REASONS) globalThis.removeEventListener?.(reason, this.resume, true);
  }

  private setStatus(status: Status): void {
    if (status === this.status) return;
    this.status = status;
    this.on.status(status);
  }
}

function tokenAuth(token: string | null): Record<string, string> {
  return token ? { token } : {};
}
