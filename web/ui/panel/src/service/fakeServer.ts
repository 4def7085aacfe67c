/** A server for the tests: sessions with a log each, over REST and sockets as those of Socket.IO. */
import type { ChatSocket } from './connection';

type Told = Record<string, unknown>;
type Taken = { client_id: string; message: string; run_id: string };

export class FakeServer {
  readonly url = 'https://agents.example.com';
  readonly kinds = new Map<string, Told>();
  /** The names of all events that were sent. */
  readonly asked: string[] = [];
  attempts = 0;
  isDown = false;
  losesAnswers = false;
  accepts: (token: string | undefined) => boolean = () => true;
  private readonly sessions = new Map<string, { log: [string, Told][]; taken: Taken[] }>();
  private readonly sockets = new Set<FakeSocket>();
  private refusals: { name: string; code: string; left: number } | null = null;

  begin(id: string): void {
    this.sessions.set(id, { log: [], taken: [] });
  }

  expire(id: string): void {
    this.sessions.delete(id);
  }

  taken(id: string): Taken[] {
    return this.sessions.get(id)?.taken ?? [];
  }

  /** Refuse the next events of a name. */
  refuses(name: string, code: string, left: number): void {
    this.refusals = { name, code, left };
  }

  write(id: string, ...pieces: string[]): void {
    for (const content of pieces) this.log(id, 'stream_chunk', { content, message_id: 'open', run_id: 'run-1' });
  }

  say(id: string, content: string, sender = 'agent'): void {
    this.log(id, 'message', { data: { id: `${sender}-${content}`, sender, content }, run_id: null });
  }

  complete(id: string): void {
    const pieces = this.sessions.get(id)!.log.filter(([name]) => name === 'stream_chunk');
    this.say(id, pieces.map(([, data]) => data['content']).join(''));
    this.log(id, 'typing', { is_typing: false });
    this.log(id, 'stream_complete', { run_id: 'run-1', status: 'success' });
  }

  /** End all connections. */
  cut(): void {
    for (const socket of [...this.sockets]) socket.end('transport close');
  }

  ping(): void {
    for (const socket of this.sockets) socket.fire('io ping');
  }

  readonly connect = (): ChatSocket => new FakeSocket(this) as unknown as ChatSocket;

  readonly fetch = async (address: string, { method, body, headers }: { method: string; body: string; headers: Record<string, string> }): Promise<Response> => {
    const path = address.slice(this.url.length);
    if (!this.accepts(headers['Authorization']?.replace('Bearer ', ''))) return new Response('{}', { status: 401 });
    const [, id] = /^\/api\/agent-chat\/sessions\/([^/]+)\/messages$/.exec(path) ?? [];
    if (id) return Response.json(this.take(id, JSON.parse(body) as Taken));
    if (`${method} ${path}` !== 'POST /api/agent-chat/sessions') throw new Error(`unexpected: ${method} ${path}`);
    const session_id = `session-${(FakeServer.made += 1)}`;
    this.kinds.set(session_id, JSON.parse(body) as Told);
    this.begin(session_id);
    return Response.json({ session_id });
  };

  opened(socket: FakeSocket): void {
    this.attempts += 1;
    if (this.isDown) return socket.fire('connect_error', new Error('websocket error'));
    if (!this.accepts(socket.auth.token)) {
      socket.active = false;
      return socket.fire('connect_error', new Error('Sign in.'));
    }
    this.sockets.add(socket);
    socket.connected = true;
    socket.fire('connect');
  }

  closed(socket: FakeSocket): void {
    this.sockets.delete(socket);
  }

  answer(socket: FakeSocket, name: string, data: Told): Told | null {
    this.asked.push(name);
    const session = this.sessions.get(data['session_id'] as string);
    const refusals = this.refusals;
    if (refusals?.name === name && refusals.left-- > 0) return { error: 'Refused.', code: refusals.code };
    if (!session) return { error: 'Expired.', code: 'session_expired' };
    if (name === 'join_chat') this.join(socket, session.log, data);
    const answer = name === 'chat_message' ? this.take(data['session_id'] as string, data as unknown as Taken) : {};
    return this.losesAnswers ? null : answer;
  }

  private static made = 0;

  private join(socket: FakeSocket, log: [string, Told][], { session_id, after }: Told): void {
    socket.room = session_id as string;
    if (after === '') {
      socket.tell('reset', { reason: 'malformed' });
      for (const [name, data] of log) if (name === 'message') socket.tell(name, data);
    } else if (after !== undefined) {
      for (const [name, data] of log.slice(Number(after))) socket.tell(name, data);
    }
  }

  private take(id: string, { client_id, message, ...more }: Taken): Told {
    const session = this.sessions.get(id)!;
    const before = session.taken.find((one) => one.client_id === client_id);
    if (before) return { status: 'sent', run_id: before.run_id };
    const run_id = `run-${session.taken.length + 1}`;
    session.taken.push({ ...more, client_id, message, run_id });
    this.say(id, message, 'user');
    this.log(id, 'typing', { is_typing: true });
    return { status: 'sent', run_id };
  }

  private log(id: string, name: string, data: Told): void {
    const { log } = this.sessions.get(id)!;
    const entry: [string, Told] = [name, { ...data, id: String(log.length + 1) }];
    log.push(entry);
    for (const socket of this.sockets) if (socket.room === id) socket.tell(...entry);
  }
}

class FakeSocket {
  connected = false;
  active = false;
  auth: { token?: string } = {};
  room = '';
  readonly io = { on: (name: string, handler: () => void) => this.on(`io ${name}`, handler) };
  private readonly waiting = new Set<() => void>();
  private readonly handlers = new Map<string, (...given: unknown[]) => void>();
  private onEvent: (name: string, data: unknown) => void = () => {};

  constructor(private readonly server: FakeServer) {}

  on(name: string, handler: (...given: never[]) => void): void {
    this.handlers.set(name, handler as (...given: unknown[]) => void);
  }

  onAny(handler: (name: string, data: unknown) => void): void {
    this.onEvent = handler;
  }

  fire(name: string, ...given: unknown[]): void {
    this.handlers.get(name)?.(...given);
  }

  tell(name: string, data: Told): void {
    if (this.connected) this.onEvent(name, data);
  }

  connect(): void {
    this.active = true;
    this.server.opened(this);
  }

  disconnect(): void {
    if (this.connected) this.end('io client disconnect');
  }

  end(reason: string): void {
    this.connected = false;
    this.room = '';
    this.server.closed(this);
    this.fire('disconnect', reason);
    for (const fail of this.waiting) fail();
  }

  timeout(milliseconds: number) {
    return {
      emit: (name: string, data: Told, answered: (error: Error | null, answer?: Told | null) => void) => {
        const settle = (error: Error | null, answer?: Told) => {
          clearTimeout(late);
          this.waiting.delete(fail);
          answered(error, answer);
        };
        const fail = () => settle(new Error('no answer'));
        const late = setTimeout(fail, milliseconds);
        this.waiting.add(fail);
        const answer = this.connected ? this.server.answer(this, name, data) : null;
        if (answer) settle(null, answer);
      },
    };
  }
}

/** A token that says what it is asked to. */
export function jwt(claims: Record<string, unknown>): string {
  return `x.${btoa(JSON.stringify(claims)).replace(/\+/g, '-').replace(/\//g, '_').replace(/=/g, '')}.x`;
}
