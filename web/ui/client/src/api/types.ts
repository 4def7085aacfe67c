/** The records of the API, by the names that we use. They are generated from the API's document. */
import type { components } from './schema';

type Schemas = components['schemas'];

export type User = Schemas['User'];
export type Token = Schemas['Token'];
export type TokenWithSecret = Schemas['TokenWithSecret'];
export type Thread = Schemas['Thread'];
/** A thread in a list; where a search found it, with its hit. */
export type ListedThread = Schemas['ListedThread'];
export type DeletedThread = Schemas['DeletedThread'];
/** Where a search found a thread. */
export type Hit = Schemas['Hit'];
export type State = Schemas['State'];
export type Message = Schemas['Message'];
/** A new message; its `files` are ids. */
export type MessageInput = Pick<Message, 'role' | 'content'> &
  Partial<Pick<Message, 'type' | 'channel' | 'author' | 'data'>> & { files?: string[] };
/** A file as messages name it. */
export type NamedFile = Schemas['NamedFile'];
export type UploadedFile = Schemas['File'];
/** A message to a run that is under way, which waits to be read. */
export type QueuedMessage = Schemas['QueuedMessage'];
export type Run = Schemas['Run'];
export type RunStatus = Run['status'];
export type RunWithQueue = Schemas['RunWithQueue'];
export type RunResult = Schemas['RunResult'];
export type Worker = Schemas['Worker'];
export type TreeNode = Schemas['TreeNode'];
/** Where a state is among its siblings. */
export type SiblingInfo = Schemas['SiblingPosition'];
export type Snapshot = Omit<Schemas['Snapshot'], 'session'> & { session: Session | null };
export type History = Schemas['History'];
export type Accepted = Schemas['Accepted'];
export type AcceptedWithThread = Schemas['AcceptedWithThread'];
export type Attempt = Schemas['Attempt'];
export type AttemptLog = Schemas['AttemptLog'];
/** What a session counts, and what it may use; null: not known, or no limit. */
export type Limit = 'turns' | 'seconds' | 'tokens' | 'cost';
export type Limits = Record<`max_${Limit}`, number | null>;
/** The session of a thread, which has it go on by itself. */
export type Session = Omit<Schemas['Session'], 'auto' | 'limits' | 'used'> & {
  auto: { enabled: boolean; prompt: string | null };
  limits: Limits;
  used: Record<Limit, number | null>;
};
export type SessionTransition = Schemas['SessionTransition'];
export type SessionSummary = Schemas['SessionSummary'];
/** Documents of the knowledge base that belong together. */
export type KnowledgeSource = Schemas['Source'];
export type NewKnowledgeSource = Schemas['NewSource'];
export type KnowledgeDocument = Schemas['Document'];
/** A run that adds documents to a source, and what has become of them. */
export type Ingestion = Schemas['Ingestion'];
/** A passage of a document in the knowledge base. */
export type Passage = Schemas['Passage'];
/** What a search of the knowledge base has found, and how. */
export type KnowledgeFound = Schemas['SearchAnswer'];
export type FieldProblem = Schemas['FieldProblem'];
export type Page<T> = { items: T[]; next: string | null };
export type Config = Record<string, unknown>;

/** What a waiting run asks its user. */
export interface Confirmation {
  id: string;
  prompt: string;
  options?: unknown[] | null;
  schema?: Record<string, unknown> | null;
}

/** The statuses of a run that has not ended. */
export const ACTIVE_STATUSES: ReadonlySet<string> = new Set(['queued', 'running', 'waiting']);
