/** What threads and states are called where there is room for a line. */
import type { Thread } from '../api/types';
import type { Node } from './state';

export function threadTitle(thread: Pick<Thread, 'title'>): string {
  return thread.title?.trim() || 'Untitled';
}

export function nodeTitle(node: Node): string {
  const words = node.label || node.preview.replace(/[*_`#]+/g, '').replace(/\s+/g, ' ').trim();
  if (words) return words;
  if (node.parentId === null) return 'Beginning';
  if (node.runStatus === 'queued') return 'Waiting to start';
  if (node.runStatus === 'running') return 'Answering';
  return node.runStatus ? 'No words' : 'Empty';
}
