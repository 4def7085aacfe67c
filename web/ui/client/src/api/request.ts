/** Requests to the API, and how its errors arrive. */
import { BASE_PATH } from './basePath';
import type { FieldProblem } from './types';
import { awaitAnswer } from './waiting';

/** An error that the server answered (a problem document, RFC 9457), or status 0 if it could not be reached. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly fields: readonly FieldProblem[] = [],
    /** Seconds. */
    readonly retryAfter = 0,
    /** What kind of error it is, for programs: `session-expired`. */
    readonly code = '',
  ) {
    super(message);
    this.name = 'Problem';
  }

  /** Whether the same request may succeed later: the server, or something that it needs, cannot be reached. */
  get isTransient(): boolean {
    return this.status === 0 || this.status === 502 || this.status === 503 || this.status === 504;
  }
}

export const UNREACHABLE = 'The server cannot be reached.';

let unauthorized: () => void = () => {};

/** Call `then` when the server answers that nobody is signed in. */
export function onUnauthorized(then: () => void): void {
  unauthorized = then;
}

/** Where requests go, and how they show who asks. */
export interface Server {
  /** Begins every address: that of the installation, without a slash at its end. */
  readonly base: string;
  /** The bearer token; null: the browser's cookie serves. */
  readonly token?: () => Promise<string | null>;
  /** Called when the server answers that nobody is signed in; true: ask once more. */
  readonly refused: () => boolean;
}

interface Options {
  key?: string;
  signal?: AbortSignal;
  /** How the body of an answer is decoded; JSON where it is left out. */
  read?: (response: Response) => Promise<unknown>;
}

/**
 * Call the API at a `path` such as /api/me; returns the decoded body of the answer.
 *
 * Throws `Problem` for an error that the server answered and where it cannot be reached, and the signal's
 * reason if it is aborted. `key` is sent as the Idempotency-Key.
 */
export function request<T>(method: string, path: string, body?: unknown, options: Options = {}): Promise<T> {
  return requestTo<T>(OURS, method, path, body, options);
}

const OURS: Server = {
  base: BASE_PATH,
  refused: () => {
    unauthorized();
    return false;
  },
};

/** The same of any server. */
export async function requestTo<T>(server: Server, method: string, path: string, body?: unknown, options: Options = {}): Promise<T> {
  let response = await send(server, method, path, body, options);
  if (response.status === 401 && !path.startsWith('/api/auth/') && server.refused()) {
    response = await send(server, method, path, body, options);
  }
  if (!response.ok) throw await readProblem(response);
  const read = options.read ?? ((answer) => answer.json());
  return (response.status === 204 ? undefined : await read(response)) as T;
}

async function send(server: Server, method: string, path: string, body: unknown, options: Options): Promise<Response> {
  const headers: Record<string, string> = { Accept: 'application/json' };
  const token = await server.token?.();
  if (token) headers['Authorization'] = `Bearer ${token}`;
  if (options.key) headers['Idempotency-Key'] = options.key;
  const type = contentType(body);
  if (type) headers['Content-Type'] = type;
  const isRaw = body instanceof Blob || body instanceof FormData;
  const answered = awaitAnswer();
  try {
    return await fetch(server.base + path, {
      method,
      headers,
      body: body === undefined ? null : isRaw ? body : JSON.stringify(body),
      signal: options.signal ?? null,
    });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Problem(0, UNREACHABLE);
  } finally {
    answered();
  }
}

/** None for a form: the browser names it, with the boundary between its parts. */
function contentType(body: unknown): string | null {
  if (body === undefined || body instanceof FormData) return null;
  return body instanceof Blob ? 'application/octet-stream' : 'application/json';
}

async function readProblem(response: Response): Promise<Problem> {
  const retryAfter = Number(response.headers.get('Retry-After')) || 0;
  try {
    const document = (await response.json()) as { type?: string; detail?: string; title?: string; errors?: FieldProblem[] };
    const text = document.detail || document.title || response.statusText;
    return new Problem(response.status, text, document.errors ?? [], retryAfter, document.type?.split(':').at(-1));
  } catch {
    return new Problem(response.status, `The server answered ${response.status} ${response.statusText}.`, [], retryAfter);
  }
}

/** The text that a user is shown for an error. */
export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
