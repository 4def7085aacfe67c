/** What threads and states are called where there is room for a line. */
import type { Thread } from '../api/types';
import type { Node } from './state';

export function threadTitle(thread: Pick<Thread, 'title'>): string {
  return thread.title?.trim() || 'Untitled';
}

export function nodeTitle(node: Node): string {
  const text = node.label || node.preview.replace(/[*_`#]+/g, '').replace(/\s+/g, ' ').trim();
  if (text) return text;
  if (node.parentId === null) return 'Start';
  if (node.runStatus === 'queued') return 'Queued';
  if (node.runStatus === 'running') return 'Running';
  return node.runStatus ? 'No output' : 'Empty';
}
