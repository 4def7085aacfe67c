/** The panel as a component for React: the element, with its properties and events as props. */
import { createElement, type ReactElement, type Ref, useImperativeHandle, useLayoutEffect, useRef } from 'react';
import type { AgentChatPanel as PanelElement, AgentChatService, AgentType, ChatMessage, Labels, Mode, Status } from './index';
import './index';

export interface AgentChatPanelProps {
  server?: string;
  agentType?: AgentType;
  projectId?: string;
  sessionId?: string;
  mode?: Mode;
  theme?: 'light' | 'dark' | 'auto';
  open?: boolean;
  heading?: string;
  token?: () => string | Promise<string>;
  context?: Record<string, unknown>;
  labels?: Partial<Labels>;
  service?: AgentChatService;
  className?: string;
  onSessionChange?: (detail: { sessionId: string; expiredId: string | null }) => void;
  onStatusChange?: (detail: { status: Status }) => void;
  onAgentMessage?: (detail: { message: ChatMessage }) => void;
  onChatError?: (detail: { error: Error }) => void;
  onUnreadChange?: (detail: { unread: number }) => void;
  /** The element, for `show()`, `hide()`, `send(text)` and `newChat()`. */
  ref?: Ref<PanelElement>;
}

const EVENTS = {
  onSessionChange: 'session-change',
  onStatusChange: 'status-change',
  onAgentMessage: 'agent-message',
  onChatError: 'chat-error',
  onUnreadChange: 'unread-change',
} as const;

export function AgentChatPanel({ ref, className, ...props }: AgentChatPanelProps): ReactElement {
  const element = useRef<PanelElement>(null);
  const current = useRef(props);
  current.current = props;
  useImperativeHandle(ref, () => element.current!);
  // Before the element renders for the first time, so that it does not connect to another server.
  useLayoutEffect(() => {
    for (const [name, value] of Object.entries(props)) {
      if (name in EVENTS) continue;
      // A token's function is often made anew with each rendering; what it closes over is the newest.
      const given = name === 'token' ? () => current.current.token!() : value;
      if (name !== 'token' || !element.current!.token) Object.assign(element.current!, { [name]: given });
    }
  });
  useLayoutEffect(() => {
    const stop = new AbortController();
    for (const [prop, name] of Object.entries(EVENTS) as [keyof typeof EVENTS, string][]) {
      const tell = (event: Event) => (current.current[prop] as ((detail: unknown) => void) | undefined)?.((event as CustomEvent).detail);
      element.current!.addEventListener(name, tell, { signal: stop.signal });
    }
    return () => stop.abort();
  }, []);
  return createElement('agent-chat-panel', { ref: element, class: className });
}

/** The name that this component has elsewhere. */
export { AgentChatPanel as ArchonChatPanel };
