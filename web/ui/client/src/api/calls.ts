import { request } from './client';
import type {
  Accepted,
  AcceptedWithThread,
  Attempt,
  AttemptLog,
  Config,
  History,
  MessageInput,
  Page,
  Run,
  RunWithQueue,
  Snapshot,
  State,
  Thread,
  Token,
  TokenWithSecret,
  TreeNode,
  User,
  Worker,
} from './types';

type Query = Record<string, string | number | boolean | null | undefined>;

function at(path: string, query: Query = {}): string {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== '');
  return given.length ? `${path}?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}` : path;
}

export interface Credentials {
  email: string;
  password: string;
  name?: string;
}

export interface RunWish {
  input_state_id?: string;
  messages?: MessageInput[];
  worker_id?: string;
  config?: Config;
  n?: number;
}

export interface ThreadChanges {
  title?: string | null;
  worker_id?: string | null;
  config?: Config;
  status?: Thread['status'];
}

export const api = {
  me: () => request<{ user: User }>('GET', '/api/me').then((answer) => answer.user),
  signIn: (given: Credentials) => request<{ user: User }>('POST', '/api/auth/login', given).then((answer) => answer.user),
  register: (given: Credentials) =>
    request<{ user: User }>('POST', '/api/auth/register', given).then((answer) => answer.user),
  signOut: () => request<void>('POST', '/api/auth/logout'),

  tokens: () => request<Page<Token>>('GET', '/api/tokens').then((page) => page.items),
  createToken: (name: string) =>
    request<{ token: TokenWithSecret }>('POST', '/api/tokens', { name }).then((answer) => answer.token),
  revokeToken: (id: string) => request<void>('DELETE', `/api/tokens/${id}`),

  workers: () => request<Page<Worker>>('GET', '/api/workers').then((page) => page.items),

  threads: (query: { query?: string; status?: string; cursor?: string | null; limit?: number }, signal?: AbortSignal) =>
    request<Page<Thread>>('GET', at('/api/threads', query), undefined, signal ? { signal } : {}),
  thread: (id: string) => request<{ thread: Thread }>('GET', `/api/threads/${id}`).then((answer) => answer.thread),
  changeThread: (id: string, changes: ThreadChanges) =>
    request<{ thread: Thread }>('PATCH', `/api/threads/${id}`, changes).then((answer) => answer.thread),
  deleteThread: (id: string) => request<void>('DELETE', `/api/threads/${id}`),
  restoreThread: (id: string) => request<{ thread: Thread }>('POST', `/api/threads/${id}/restore`),
  importThread: (exported: unknown) => request<{ thread: Thread }>('POST', '/api/threads/import', exported),
  /** The path to `state`, or without one the whole tree. */
  exportUrl: (id: string, format: 'json' | 'markdown', state?: string) =>
    at(`/api/threads/${id}/export`, state ? { format, state } : { format, scope: 'tree' }),

  tree: (id: string, cursor: string | null, signal?: AbortSignal) =>
    request<Page<TreeNode>>('GET', at(`/api/threads/${id}/states`, { limit: 1000, cursor }), undefined, signal ? { signal } : {}),
  snapshot: (id: string, state: string | null) =>
    request<Snapshot>('GET', at(`/api/threads/${id}/snapshot`, { state })),
  history: (state: string, cursor?: string | null) =>
    request<History>('GET', at(`/api/states/${state}/messages`, { limit: 50, cursor, runs: true })),
  state: (id: string) => request<{ state: State }>('GET', `/api/states/${id}`).then((answer) => answer.state),
  addState: (thread: string, parent_id: string, messages: MessageInput[]) =>
    request<{ state: State }>('POST', `/api/threads/${thread}/states`, { parent_id, messages }).then(
      (answer) => answer.state,
    ),
  markState: (id: string, marks: { label?: string | null; starred?: boolean }) =>
    request<{ state: State }>('PATCH', `/api/states/${id}`, marks).then((answer) => answer.state),

  run: (thread: string, wish: RunWish, key: string) =>
    request<Accepted>('POST', `/api/threads/${thread}/runs`, wish, { key }),
  runOnNewThread: (wish: RunWish, key: string) => request<AcceptedWithThread>('POST', '/api/runs', wish, { key }),
  runs: (query: { status?: string; thread?: string; limit?: number }) => request<Page<Run>>('GET', at('/api/runs', query)),
  oneRun: (id: string) => request<{ run: RunWithQueue }>('GET', `/api/runs/${id}`).then((answer) => answer.run),
  cancel: (run: string) => request<{ run: Run }>('POST', `/api/runs/${run}/cancel`, {}).then((answer) => answer.run),
  answer: (run: string, answer: unknown, confirmation_id?: string) =>
    request<{ run: Run }>('POST', `/api/runs/${run}/answer`, { answer, ...(confirmation_id ? { confirmation_id } : {}) }).then(
      (given) => given.run,
    ),
  log: (run: string) => request<Page<AttemptLog>>('GET', `/api/runs/${run}/log`).then((page) => page.items),
  attempts: (run: string) => request<Page<Attempt>>('GET', `/api/runs/${run}/attempts`).then((page) => page.items),
};
