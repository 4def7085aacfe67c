/** What the tabs of a browser and the holder of its stream tell each other. */
import type { Hint, LogEvent } from './events';

/** `connecting`: the server has not answered yet; `lost`: the connection failed, and is made again. */
export type ConnectionState = 'connecting' | 'open' | 'lost';

export type TabMessage =
  /** All threads that the tab follows, each with the cursor up to which it has seen the log. Repeated as a heartbeat. */
  | { kind: 'tab'; tab: string; threads: Record<string, string> }
  /** The tab is closed, or needs nothing for now. */
  | { kind: 'gone'; tab: string }
  /** The network is back. */
  | { kind: 'online' };

export type HubMessage =
  /** There is a new hub: every tab has to say what it follows. */
  | { kind: 'hub' }
  | { kind: 'event'; id: string; event: LogEvent }
  /** The log of the thread cannot be followed any more. */
  | { kind: 'reset'; thread: string; reason: string }
  | { kind: 'hint'; hint: Hint }
  /** The threads that the open connection carries, and whether the last attempt to connect failed. */
  | { kind: 'state'; open: string[]; lost: boolean }
  /** The server refuses the stream, so the session may have ended or be another user's. */
  | { kind: 'refused' };

export type StreamMessage = TabMessage | HubMessage;
