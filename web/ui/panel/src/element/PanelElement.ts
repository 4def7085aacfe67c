/** `<agent-chat-panel>` as its page sees it. */
import type { AgentChatService } from '../service/agentChatService';
import type { AgentType, ChatMessage, Status } from '../service/types';
import type { Labels } from './labels';

/** `floating`: above the page, behind a button; `docked`: beside it; `inline`: where the element is. */
export type Mode = 'floating' | 'docked' | 'inline';

/** What the panel tells its page, by the names of its events. */
export interface PanelEvents {
  'session-change': { sessionId: string; expiredId: string | null };
  'status-change': { status: Status };
  'agent-message': { message: ChatMessage };
  'chat-error': { error: Error };
  'unread-change': { unread: number };
}

export type PanelEventMap = HTMLElementEventMap & { [Name in keyof PanelEvents]: CustomEvent<PanelEvents[Name]> };

export interface PanelElement extends HTMLElement {
  /** The address of the installation; by default where this script comes from. */
  server: string | null;
  agentType: AgentType;
  projectId: string | null;
  /** A chat that the page knows; by default the last one that was begun here. */
  sessionId: string | null;
  mode: Mode;
  /** `light`, `dark`, or `auto` as the user's system is; without it as the page is. */
  theme: string | null;
  open: boolean;
  heading: string | null;
  /** Gives a token for whoever uses the page. */
  token: (() => string | Promise<string>) | null;
  /** The arguments of each run. */
  context: Record<string, unknown> | null;
  /** Words in place of the panel's own. */
  labels: Partial<Labels>;
  /** A service that the page has configured itself. */
  service: AgentChatService | null;

  /** Open the panel, and let its user write. */
  show(): void;
  /** Close it; the chat goes on. */
  hide(): void;
  /** Send a message as the panel's user does. */
  send(text: string): Promise<void>;
  /** Begin another chat. */
  newChat(): Promise<void>;

  addEventListener<Name extends keyof PanelEventMap>(name: Name, listener: (this: PanelElement, event: PanelEventMap[Name]) => unknown, options?: boolean | AddEventListenerOptions): void;
  addEventListener(name: string, listener: EventListenerOrEventListenerObject, options?: boolean | AddEventListenerOptions): void;
  removeEventListener<Name extends keyof PanelEventMap>(name: Name, listener: (this: PanelElement, event: PanelEventMap[Name]) => unknown, options?: boolean | EventListenerOptions): void;
  removeEventListener(name: string, listener: EventListenerOrEventListenerObject, options?: boolean | EventListenerOptions): void;
}

declare global {
  interface HTMLElementTagNameMap {
    'agent-chat-panel': PanelElement;
  }
}
