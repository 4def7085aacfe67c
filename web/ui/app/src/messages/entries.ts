import type { Message, Run } from '@branchline/client/api/types';
import { SUB_RUN_STATUS } from '../stores/subRuns';

/** A task in the checklist of a message. */
export interface Entry {
  /** The id of the call by which it is done. */
  callId: string;
  title: string;
  /** How that has ended; undefined while it has not. */
  status?: Run['status'];
}

/** The checklist in the data of a message; null where there is none. */
export function checklistOf({ data }: Pick<Message, 'data'>): Entry[] | null {
  const list = data['checklist'];
  if (!Array.isArray(list) || !list.length) return null;
  const entries = list.map(entryOf);
  return entries.every((entry) => entry !== null) ? entries : null;
}

function entryOf(value: unknown): Entry | null {
  if (typeof value !== 'object' || value === null) return null;
  const { call_id: callId, title, status } = value as Record<string, unknown>;
  if (typeof callId !== 'string' || typeof title !== 'string') return null;
  return { callId, title, ...(typeof status === 'string' && Object.hasOwn(SUB_RUN_STATUS, status) && { status: status as Run['status'] }) };
}
