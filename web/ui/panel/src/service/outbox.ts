/**
 * Messages that were written and that the server has not confirmed yet. They wait in IndexedDB, so that a
 * closed tab loses none, and are sent by one tab at a time, oldest first. One that was sent, but whose
 * confirmation was lost, is sent again: the server takes a message of one `clientId` once.
 */
import { type DBSchema, type IDBPDatabase, openDB } from 'idb';
import type { UnsentMessage } from './types';

/** A message that waits, as it is kept. */
export interface Kept extends UnsentMessage {
  /** Rises with each message; null until it is kept. */
  order?: number;
  /** The address of its server and the session. */
  room: string;
  /** Whose it is; null where that is not known. */
  owner: string | null;
}

interface Schema extends DBSchema {
  unsent: { key: number; value: Kept; indexes: { room: string } };
}

/** Where messages wait. */
interface Store {
  add(message: Kept): Promise<void>;
  /** Those of a room, oldest first. */
  list(room: string): Promise<Kept[]>;
  put(message: Kept): Promise<void>;
  remove(order: number): Promise<void>;
}

export class Outbox {
  private store: Promise<Store> | null = null;
  /** What this page has written: it may be moved even where its owner is not known. */
  private readonly written = new Set<string>();

  async add(message: Kept): Promise<void> {
    this.written.add(message.clientId);
    await (await this.opened()).add(message);
  }

  async list(room: string): Promise<Kept[]> {
    return (await this.opened()).list(room);
  }

  async remove({ order }: Kept): Promise<void> {
    if (order !== undefined) await (await this.opened()).remove(order);
  }

  /** Have what waits in one room wait in another. What somebody else has written in this browser stays. */
  async move(from: string, to: string, owner: string | null): Promise<void> {
    const store = await this.opened();
    for (const message of await store.list(from)) {
      const isOurs = this.written.has(message.clientId) || (owner !== null && message.owner === owner);
      if (isOurs) await store.put({ ...message, room: to });
    }
  }

  /** Do `work` while no other tab does such for this room. */
  async alone<T>(room: string, work: () => Promise<T>): Promise<T> {
    // There are no locks in pages without TLS. Two tabs may send the same message then, and it is taken once.
    if (typeof navigator === 'undefined' || !('locks' in navigator)) return work();
    return navigator.locks.request(`branchline.panel ${room}`, work);
  }

  private opened(): Promise<Store> {
    this.store ??= IndexedStore.open().catch(() => new MemoryStore());
    return this.store;
  }
}

class IndexedStore implements Store {
  private constructor(private readonly database: IDBPDatabase<Schema>) {}

  /** Throws where the browser allows none, as in some private windows. */
  static async open(): Promise<IndexedStore> {
    const database = await openDB<Schema>('branchline.panel', 1, {
      upgrade: (made) => {
        made.createObjectStore('unsent', { keyPath: 'order', autoIncrement: true }).createIndex('room', 'room');
      },
    });
    return new IndexedStore(database);
  }

  async add(message: Kept): Promise<void> {
    await this.database.add('unsent', message);
  }

  list(room: string): Promise<Kept[]> {
    return this.database.getAllFromIndex('unsent', 'room', room);
  }

  async put(message: Kept): Promise<void> {
    await this.database.put('unsent', message);
  }

  async remove(order: number): Promise<void> {
    await this.database.delete('unsent', order);
  }
}

/** For browsers that keep nothing: what waits is lost with the page. */
class MemoryStore implements Store {
  private readonly kept = new Map<number, Kept>();
  private last = 0;

  async add(message: Kept): Promise<void> {
    this.last += 1;
    this.kept.set(this.last, { ...message, order: this.last });
  }

  async list(room: string): Promise<Kept[]> {
    return [...this.kept.values()].filter((message) => message.room === room);
  }

  async put(message: Kept): Promise<void> {
    this.kept.set(message.order!, message);
  }

  async remove(order: number): Promise<void> {
    this.kept.delete(order);
  }
}
