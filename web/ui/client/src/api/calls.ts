/** The API's calls. */
import { BASE_PATH } from './basePath';
import { request } from './request';
import type {
  Accepted,
  AcceptedWithThread,
  Attempt,
  AttemptLog,
  Config,
  DeletedThread,
  History,
  Ingestion,
  KnowledgeDocument,
  KnowledgeFound,
  KnowledgeSource,
  Limits,
  ListedThread,
  MessageInput,
  NewKnowledgeSource,
  Page,
  Passage,
  QueuedMessage,
  Run,
  RunResult,
  RunWithQueue,
  Session,
  SessionSummary,
  SessionTransition,
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

function withQuery(path: string, query: Query = {}): string {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== '');
  return given.length ? `${path}?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}` : path;
}

export interface Credentials {
  email: string;
  password: string;
  name?: string;
}

export interface RunRequest {
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
  metadata?: Record<string, unknown>;
  status?: Thread['status'];
}

export interface SessionChanges {
  auto?: { enabled?: boolean; prompt?: string | null };
  limits?: Partial<Limits>;
  tip_state_id?: string;
}

export interface SessionRequest extends Omit<SessionChanges, 'tip_state_id'> {
  worker_id?: string;
  config?: Config;
  /** Where it goes on; the newest ended state if it is left out. */
  state_id?: string;
}

export type SessionAct = 'pause' | 'resume' | 'step' | 'stop' | 'close';

const SOURCES = '/api/knowledge/sources';

export const api = {
  me: () => request<{ user: User }>('GET', '/api/me').then((answerRun) => answerRun.user),
  signIn: (given: Credentials) => request<{ user: User }>('POST', '/api/auth/login', given).then((answer) => answer.user),
  register: (given: Credentials) =>
    request<{ user: User }>('POST', '/api/auth/register', given).then((answer) => answer.user),
  signOut: () => request<void>('POST', '/api/auth/logout'),

  tokens: () => request<Page<Token>>('GET', '/api/tokens').then((page) => page.items),
  createToken: (name: string) =>
    request<{ token: TokenWithSecret }>('POST', '/api/tokens', { name }).then((answer) => answer.token),
  revokeToken: (id: string) => request<void>('DELETE', `/api/tokens/${id}`),

  deleteFile: (id: string) => request<void>('DELETE', `/api/files/${id}`),

  workers: () => request<Page<Worker>>('GET', '/api/workers').then((page) => page.items),

  threads: (query: { query?: string; status?: string; cursor?: string | null; limit?: number }, signal?: AbortSignal) =>
    request<Page<ListedThread>>('GET', withQuery('/api/threads', query), undefined, signal ? { signal } : {}),
  thread: (id: string) => request<{ thread: Thread }>('GET', `/api/threads/${id}`).then((answer) => answer.thread),
  updateThread: (id: string, changes: ThreadChanges) =>
    request<{ thread: Thread }>('PATCH', `/api/threads/${id}`, changes).then((answer) => answer.thread),
  deleteThread: (id: string) => request<void>('DELETE', `/api/threads/${id}`),
  restoreThread: (id: string) => request<{ thread: Thread }>('POST', `/api/threads/${id}/restore`),
  trash: (query: { cursor?: string | null; limit?: number }, signal?: AbortSignal) =>
    request<Page<DeletedThread>>('GET', withQuery('/api/trash', query), undefined, signal ? { signal } : {}),
  deleteForGood: (thread: string) => request<void>('DELETE', `/api/trash/${thread}`),
  emptyTrash: () => request<void>('DELETE', '/api/trash'),
  importThread: (exported: unknown) => request<{ thread: Thread }>('POST', '/api/threads/import', exported),
  importArchive: (archive: Blob) => request<{ thread: Thread }>('POST', '/api/threads/import/archive', archive),
  /** The address of an export: the path to `state`, or the whole tree if there is no state. */
  exportUrl: (id: string, format: 'json' | 'markdown' | 'zip', state?: string) =>
    BASE_PATH + withQuery(`/api/threads/${id}/export`, state ? { format, state } : { format, scope: 'tree' }),

  tree: (id: string, cursor: string | null, signal?: AbortSignal) =>
    request<Page<TreeNode>>('GET', withQuery(`/api/threads/${id}/states`, { limit: 1000, cursor }), undefined, signal ? { signal } : {}),
  snapshot: (id: string, state: string | null) =>
    request<Snapshot>('GET', withQuery(`/api/threads/${id}/snapshot`, { state })),
  history: (state: string, cursor?: string | null) =>
    request<History>('GET', withQuery(`/api/states/${state}/messages`, { limit: 50, cursor, runs: true })),
  state: (id: string) => request<{ state: State }>('GET', `/api/states/${id}`).then((answer) => answer.state),
  addState: (thread: string, parent_id: string, messages: MessageInput[]) =>
    request<{ state: State }>('POST', `/api/threads/${thread}/states`, { parent_id, messages }).then(
      (answer) => answer.state,
    ),
  updateState: (id: string, marks: { label?: string | null; starred?: boolean }) =>
    request<{ state: State }>('PATCH', `/api/states/${id}`, marks).then((answer) => answer.state),

  createRun: (thread: string, wish: RunRequest, key: string) =>
    request<Accepted>('POST', `/api/threads/${thread}/runs`, wish, { key }),
  createThreadWithRun: (wish: RunRequest, key: string) => request<AcceptedWithThread>('POST', '/api/runs', wish, { key }),
  runs: (query: { status?: string; thread?: string; limit?: number }) => request<Page<Run>>('GET', withQuery('/api/runs', query)),
  run: (id: string) => request<{ run: RunWithQueue }>('GET', `/api/runs/${id}`).then((answer) => answer.run),
  /** Cancel a run; `wait`: seconds to wait for its end. */
  cancelRun: (run: string, wait = 0) =>
    request<{ run: Run }>('POST', `/api/runs/${run}/cancel`, wait ? { wait } : {}).then((answer) => answer.run),
  sendToRun: (run: string, messages: MessageInput[], key: string) =>
    request<{ messages: QueuedMessage[] }>('POST', `/api/runs/${run}/messages`, { messages }, { key }).then(
      (answer) => answer.messages,
    ),
  queuedMessages: (run: string) => request<Page<QueuedMessage>>('GET', `/api/runs/${run}/messages`).then((page) => page.items),
  removeQueuedMessage: (run: string, message: string) => request<void>('DELETE', `/api/runs/${run}/messages/${message}`),
  answer: (run: string, answer: unknown, confirmation_id?: string) =>
    request<{ run: Run }>('POST', `/api/runs/${run}/answer`, { answer, ...(confirmation_id ? { confirmation_id } : {}) }).then(
      (given) => given.run,
    ),

  createSession: (thread: string, wish: SessionRequest) =>
    request<{ session: Session }>('POST', `/api/threads/${thread}/session`, wish).then((answer) => answer.session),
  changeSession: (thread: string, changes: SessionChanges) =>
    request<{ session: Session }>('PATCH', `/api/threads/${thread}/session`, changes).then((answer) => answer.session),
  actOnSession: (thread: string, act: SessionAct) =>
    request<{ session: Session }>('POST', `/api/threads/${thread}/session/${act}`).then((answer) => answer.session),
  sendToSession: (thread: string, messages: MessageInput[], key: string) =>
    request<{ session: Session; run: Run }>('POST', `/api/threads/${thread}/session/messages`, { messages }, { key }),
  sessionSummary: (thread: string) => request<SessionSummary>('GET', `/api/threads/${thread}/session/summary`),
  sessionTransitions: (thread: string, cursor: string | null) =>
    request<Page<SessionTransition>>('GET', withQuery(`/api/threads/${thread}/session/transitions`, { limit: 50, cursor })),

  knowledgeSources: (cursor: string | null, signal?: AbortSignal) =>
    request<Page<KnowledgeSource>>('GET', withQuery(SOURCES, { limit: 100, cursor }), undefined, signal ? { signal } : {}),
  knowledgeSource: (id: string) => request<{ source: KnowledgeSource }>('GET', `${SOURCES}/${id}`).then((answer) => answer.source),
  createKnowledgeSource: (wish: NewKnowledgeSource) =>
    request<{ source: KnowledgeSource }>('POST', SOURCES, wish).then((answer) => answer.source),
  deleteKnowledgeSource: (id: string) => request<void>('DELETE', `${SOURCES}/${id}`),
  knowledgeDocuments: (source: string, cursor: string | null, signal?: AbortSignal) =>
    request<Page<KnowledgeDocument>>('GET', withQuery(`${SOURCES}/${source}/documents`, { limit: 100, cursor }), undefined, signal ? { signal } : {}),
  knowledgeDocument: (source: string, id: string) =>
    request<{ document: KnowledgeDocument }>('GET', `${SOURCES}/${source}/documents/${id}`).then((answer) => answer.document),
  deleteKnowledgeDocument: (source: string, id: string) => request<void>('DELETE', `${SOURCES}/${source}/documents/${id}`),
  ingestions: (source: string, cursor: string | null, signal?: AbortSignal) =>
    request<Page<Ingestion>>('GET', withQuery(`${SOURCES}/${source}/ingestions`, { limit: 5, cursor }), undefined, signal ? { signal } : {}),
  createIngestion: (source: string, wish: { urls?: string[]; files?: string[] }) =>
    request<{ run: Run }>('POST', `${SOURCES}/${source}/ingestions`, wish).then((answer) => answer.run),
  /** The `k` passages that fit best, of all sources or of one. */
  searchKnowledge: (query: { q: string; k: number; source: string | null }, signal?: AbortSignal) =>
    request<KnowledgeFound>('GET', withQuery('/api/knowledge/search', query), undefined, signal ? { signal } : {}),
  /** Passages of a document, in order from the one at the position `first`, with marks where they have words of `q`. */
  passages: (source: string, document: string, first: number, limit: number, q = '') =>
    request<{ items: Passage[] }>('GET', withQuery(`${SOURCES}/${source}/documents/${document}/passages`, { first, limit, q })).then(
      (answer) => answer.items,
    ),

  runLog: (run: string) => request<Page<AttemptLog>>('GET', `/api/runs/${run}/log`).then((page) => page.items),
  runChildren: (run: string) => request<Page<Run>>('GET', withQuery(`/api/runs/${run}/children`, { limit: 100 })).then((page) => page.items),
  /** A run and its messages, as they are now. */
  runResult: (run: string) => request<RunResult>('GET', withQuery(`/api/runs/${run}/wait`, { timeout: 0 })),
  runAttempts: (run: string) => request<Page<Attempt>>('GET', `/api/runs/${run}/attempts`).then((page) => page.items),
};
