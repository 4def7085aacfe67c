/** `<agent-chat-panel>`, which importing this makes known to the page. */
import { AgentChatPanel as Panel, define } from './element/AgentChatPanel';
import type { PanelElement } from './element/PanelElement';

export { type Labels, LABELS } from './element/labels';
export type { Mode, PanelEventMap, PanelEvents } from './element/PanelElement';

export type AgentChatPanel = PanelElement;
/** The class of the element. */
export const AgentChatPanel: { new (): PanelElement; readonly prototype: PanelElement } = Panel;

define();
