/** The tasks of a plan, in the data of its message, and where each is in the picture of what depends on what. */
import type { Message } from '@branchline/client/api/types';

export interface Task {
  id: string;
  title: string;
  description: string;
  hours: number;
  /** The ids of the tasks that are done before it. */
  after: string[];
}

export interface Plan {
  summary: string;
  tasks: Task[];
  totalHours: number;
  /** The ids of the tasks one after the other that take longest, and for how long. */
  chain: ReadonlySet<string>;
  chainHours: number;
}

/** The plan in the data of a message; null where there is none. */
export function planOf({ data }: Pick<Message, 'data'>): Plan | null {
  const listed = data['tasks'];
  if (!Array.isArray(listed) || !listed.length) return null;
  const tasks = listed.map(taskOf);
  if (!tasks.every((task) => task !== null)) return null;
  const { summary, total_hours: total, longest_chain: chain, longest_chain_hours: hours } = data;
  return {
    summary: typeof summary === 'string' ? summary : '',
    tasks,
    totalHours: typeof total === 'number' ? total : tasks.reduce((sum, task) => sum + task.hours, 0),
    chain: new Set(Array.isArray(chain) ? chain : []),
    chainHours: typeof hours === 'number' ? hours : 0,
  };
}

function taskOf(value: unknown): Task | null {
  if (typeof value !== 'object' || value === null) return null;
  const { id, title, description, estimate_hours: hours, depends_on: after } = value as Record<string, unknown>;
  if (typeof id !== 'string' || typeof title !== 'string' || typeof hours !== 'number' || !Array.isArray(after)) return null;
  return { id, title, hours, description: typeof description === 'string' ? description : '', after: after.filter((one) => typeof one === 'string') };
}

export const WIDTH = 168;
export const HEIGHT = 46;
const COLUMN = WIDTH + 18;
const ROW = HEIGHT + 40;

export interface Placed {
  task: Task;
  x: number;
  y: number;
}

/** Each task one row below the last of those before it, and in its row close to them. */
export function layout(tasks: readonly Task[]): { placed: Placed[]; width: number; height: number } {
  const rows: Task[][] = [];
  const rowOf = new Map<string, number>();
  // A task is listed behind those that it depends on; one that is not there, or comes later, counts for nothing.
  for (const task of tasks) {
    const row = Math.max(-1, ...task.after.map((id) => rowOf.get(id) ?? -1)) + 1;
    rowOf.set(task.id, row);
    (rows[row] ??= []).push(task);
  }
  const width = Math.max(...rows.map((row) => row.length)) * COLUMN - (COLUMN - WIDTH);
  const center = new Map<string, number>();
  const placed = rows.flatMap((row, index) => {
    const wish = ({ after }: Task) => {
      const known = after.flatMap((id) => center.get(id) ?? []);
      return known.length ? known.reduce((sum, one) => sum + one, 0) / known.length : width / 2;
    };
    const wishes = new Map(row.map((task) => [task, wish(task)]));
    const sorted = row.toSorted((one, other) => (wishes.get(one) ?? 0) - (wishes.get(other) ?? 0));
    const left = (width - (row.length * COLUMN - (COLUMN - WIDTH))) / 2;
    return sorted.map((task, place) => {
      const x = left + place * COLUMN;
      center.set(task.id, x + WIDTH / 2);
      return { task, x, y: index * ROW };
    });
  });
  return { placed, width, height: (rows.length - 1) * ROW + HEIGHT };
}

/** The way from one task to another one below it. */
export function edge(from: Placed, to: Placed): string {
  const [x1, y1, x2, y2] = [from.x + WIDTH / 2, from.y + HEIGHT, to.x + WIDTH / 2, to.y - 6];
  const bend = (y2 - y1) / 2;
  return `M${x1} ${y1}C${x1} ${y1 + bend} ${x2} ${y2 - bend} ${x2} ${y2}`;
}

/** Hours for people: `2.5 h`. */
export function hoursText(hours: number): string {
  return `${Math.round(hours * 10) / 10} h`;
}
