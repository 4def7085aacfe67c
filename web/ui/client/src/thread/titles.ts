/** What threads and states are called where there is room for a line. */
import type { Thread } from '../api/types';
import { AUTO_AUTHOR } from './session';
import type { Node } from './state';
import { withoutThoughts } from './thoughts';

/** Characters of a message that the tree shows. */
export const PREVIEW = 80;

const segmenter = new Intl.Segmenter();

/** The beginning of a text, at most so many code units, cut between the characters that a reader sees. */
export function firstCharacters(text: string, length: number): string {
  if (text.length <= length) return text;
  // The next character may be a long family; what it is made of must be seen to find where it ends.
  const last = segmenter.segment(text.slice(0, length + 64)).containing(length);
  return text.slice(0, last?.index ?? length);
}

export function threadTitle(thread: Pick<Thread, 'title'>): string {
  return thread.title?.trim() || 'Untitled';
}

/** Whether a user has written a state, as far as the tree tells: no run fills it, and no other role has its first message. */
export function isFromUser(node: Node): boolean {
  return !node.runId && (node.author === '' || node.author === 'user');
}

/** Whether a state is a prompt that the session of its thread has sent by itself. */
export function isFromSession(node: Node): boolean {
  return !node.runId && node.author === AUTO_AUTHOR;
}

/** Who has written a state. */
export function nodeAuthor(node: Node, workerName: (id: string) => string): string {
  if (isFromUser(node)) return 'You';
  if (isFromSession(node)) return 'Asked by itself';
  // A worker that names no author is the author, by its id.
  if (node.author && !ROLES.has(node.author) && node.author !== node.workerId) return node.author;
  return node.workerId ? workerName(node.workerId) : node.runId ? 'Answer' : `${ROLE_NAMES[node.author] ?? 'Message'}, added manually`;
}

const ROLE_NAMES: Record<string, string> = { assistant: 'Answer', system: 'System', tool: 'Result' };
const ROLES: ReadonlySet<string> = new Set(Object.keys(ROLE_NAMES));

export function nodeTitle(node: Node): string {
  const text = node.label || shown(node.preview).replace(/[*_`#]+/g, '').replace(/\s+/g, ' ').trim();
  if (text) return text;
  if (node.parentId === null) return 'Start';
  if (node.runStatus === 'queued') return 'Queued';
  if (node.runStatus === 'running') return 'Running';
  return node.runStatus ? 'No output' : 'Empty';
}

/** A preview without thoughts; if it is nothing else, without their mark. Its last character may be cut. */
function shown(preview: string): string {
  const whole = [...preview].length < PREVIEW ? preview : firstCharacters(preview, preview.length - 1);
  return withoutThoughts(whole) || whole.replace(/<\/?think(?:ing)?>/g, '');
}
