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

/**
 * Call the API at a `path` such as /api/me; returns the decoded body of the answer.
 *
 * Throws `Problem` for an error that the server answered and where it cannot be reached, and the signal's
 * reason if it is aborted. `key` is sent as the Idempotency-Key.
 */
export async function request<T>(
  method: string,
  path: string,
  body?: unknown,
  options: { key?: string; signal?: AbortSignal } = {},
): Promise<T> {
  const headers: Record<string, string> = { Accept: 'application/json' };
  if (body !== undefined) headers['Content-Type'] = body instanceof Blob ? 'application/octet-stream' : 'application/json';
  if (options.key) headers['Idempotency-Key'] = options.key;
  let response: Response;
  const answered = awaitAnswer();
  try {
    response = await fetch(BASE_PATH + path, {
      method,
      headers,
      body: body === undefined ? null : body instanceof Blob ? body : JSON.stringify(body),
      signal: options.signal ?? null,
    });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Problem(0, UNREACHABLE);
  } finally {
    answered();
  }
  if (response.ok) return (response.status === 204 ? undefined : await response.json()) as T;
  const problem = await readProblem(response);
  if (problem.status === 401 && !path.startsWith('/api/auth/')) unauthorized();
  throw problem;
}

async function readProblem(response: Response): Promise<Problem> {
  const retryAfter = Number(response.headers.get('Retry-After')) || 0;
  try {
    const document = (await response.json()) as { detail?: string; title?: string; errors?: FieldProblem[] };
    return new Problem(response.status, document.detail || document.title || response.statusText, document.errors ?? [], retryAfter);
  } catch {
    return new Problem(response.status, `The server answered ${response.status} ${response.statusText}.`, [], retryAfter);
  }
}

/** The text that a user is shown for an error. */
export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
