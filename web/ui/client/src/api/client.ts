import type { FieldProblem } from './types';

/** What the server answered instead of what was asked for (RFC 9457), or that it did not answer. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly fields: readonly FieldProblem[] = [],
    readonly retryAfter = 0,
  ) {
    super(message);
    this.name = 'Problem';
  }

  /** Whether the same request may succeed later: nothing answered, or something that it needs is away. */
  get passing(): boolean {
    return this.status === 0 || this.status === 502 || this.status === 503 || this.status === 504;
  }
}

const UNREACHABLE = 'The server cannot be reached.';

let signedOut: () => void = () => {};

/** Call `then` when the server says that nobody is signed in. */
export function onSignedOut(then: () => void): void {
  signedOut = then;
}

export async function request<T>(
  method: string,
  path: string,
  body?: unknown,
  options: { key?: string; signal?: AbortSignal } = {},
): Promise<T> {
  const headers: Record<string, string> = { Accept: 'application/json' };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  if (options.key) headers['Idempotency-Key'] = options.key;
  let response: Response;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: body === undefined ? null : JSON.stringify(body),
      signal: options.signal ?? null,
    });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Problem(0, UNREACHABLE);
  }
  if (response.ok) return (response.status === 204 ? undefined : await response.json()) as T;
  const problem = await readProblem(response);
  if (problem.status === 401 && !path.startsWith('/api/auth/')) signedOut();
  throw problem;
}

async function readProblem(response: Response): Promise<Problem> {
  const after = Number(response.headers.get('Retry-After')) || 0;
  try {
    const said = (await response.json()) as { detail?: string; title?: string; errors?: FieldProblem[] };
    return new Problem(response.status, said.detail || said.title || response.statusText, said.errors ?? [], after);
  } catch {
    return new Problem(response.status, `The server answered ${response.status} ${response.statusText}.`, [], after);
  }
}

/** An error in words for the user. */
export function inWords(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
