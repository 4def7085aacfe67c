/** The custom element `<agent-chat-panel>`: a chat with an agent, in a shadow DOM of its own. */
import { html, LitElement, nothing, type PropertyValues, type TemplateResult, unsafeCSS } from 'lit';
import { AgentChatService, agentChatService } from '../service/agentChatService';
import type { AgentType } from '../service/types';
import { ChatController, type ChatHost } from './ChatController';
import { Composer } from './Composer';
import { CHAT, CLOSE, DOWN, PLUS } from './icons';
import { type Labels, LABELS } from './labels';
import { messagesView } from './messages';
import type { Mode, PanelElement, PanelEvents } from './PanelElement';
import { Size, type Side } from './size';
import card from './styles/card.css?inline';
import composer from './styles/composer.css?inline';
import frame from './styles/frame.css?inline';
import messages from './styles/messages.css?inline';
import prose from './styles/prose.css?inline';
import tokens from './styles/tokens.css?inline';

/** The properties that say which chat is shown. */
const WHICH_CHAT = ['server', 'token', 'agentType', 'projectId', 'sessionId', 'service'];

/** Pixels from its end within which a chat is scrolled along. */
const NEAR = 48;

export class AgentChatPanel extends LitElement implements ChatHost, PanelElement {
  static override readonly styles = [tokens, frame, messages, prose, card, composer].map((text) => unsafeCSS(text));
  static override readonly properties = {
    server: {},
    agentType: { attribute: 'agent-type' },
    projectId: { attribute: 'project-id' },
    sessionId: { attribute: 'session-id' },
    mode: { reflect: true },
    theme: { reflect: true },
    open: { type: Boolean, reflect: true },
    heading: {},
    token: { attribute: false },
    context: { attribute: false },
    labels: { attribute: false },
    service: { attribute: false },
    isAtEnd: { state: true },
  };

  declare server: string | null;
  declare agentType: AgentType;
  declare projectId: string | null;
  declare sessionId: string | null;
  declare mode: Mode;
  declare theme: string | null;
  declare open: boolean;
  declare heading: string | null;
  declare token: (() => string | Promise<string>) | null;
  declare context: Record<string, unknown> | null;
  declare labels: Partial<Labels>;
  declare service: AgentChatService | null;
  declare private isAtEnd: boolean;

  private own: AgentChatService | null = null;
  private readonly controller = new ChatController(this);
  private readonly size = new Size(this, () => this.requestUpdate());
  private readonly composer = new Composer(this);
  private readonly resized = new ResizeObserver(() => this.follow());
  private hasOpened = false;

  constructor() {
    super();
    this.server = this.projectId = this.sessionId = this.theme = this.heading = this.token = this.context = this.service = null;
    this.agentType = 'rag';
    this.mode = 'floating';
    this.open = false;
    this.labels = {};
    this.isAtEnd = true;
  }

  get chatService(): AgentChatService {
    if (this.service) return this.service;
    const { server, token } = this;
    if (server === null && token === null) return agentChatService;
    // By way of the property: the page's function may be another one later.
    this.own ??= new AgentChatService({ ...(server ? { server } : {}), token: token ? () => this.token!() : null });
    return this.own;
  }

  get isWatched(): boolean {
    return this.isShown && this.isAtEnd && document.visibilityState === 'visible';
  }

  get words(): Labels {
    return { ...LABELS, ...this.labels };
  }

  show(): void {
    this.open = true;
    void this.updateComplete.then(() => this.composer.focus());
  }

  hide(): void {
    this.open = false;
    void this.updateComplete.then(() => this.query('.launcher')?.focus());
  }

  send(text: string): Promise<void> {
    return this.controller.send(text);
  }

  newChat(): Promise<void> {
    return this.controller.open(true);
  }

  announce<Name extends keyof PanelEvents>(name: Name, detail: PanelEvents[Name]): void {
    this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, composed: true }));
  }

  override connectedCallback(): void {
    super.connectedCallback();
    document.addEventListener('visibilitychange', this.look);
    this.resized.observe(this);
    if (this.hasOpened) void this.controller.open();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    document.removeEventListener('visibilitychange', this.look);
    this.resized.disconnect();
  }

  protected override firstUpdated(): void {
    this.size.restore();
  }

  protected override updated(changed: PropertyValues): void {
    if (['server', 'token'].some((name) => changed.has(name))) this.own = null;
    const isOther = WHICH_CHAT.some((name) => changed.has(name));
    // A panel that nobody opens costs the server nothing.
    if (this.isShown && this.canSignIn && (!this.hasOpened || isOther)) {
      this.hasOpened = true;
      void this.controller.open();
    }
    this.follow();
    this.look();
  }

  protected override render(): TemplateResult {
    return html`${this.isShown ? this.frameView() : this.launcherView()}`;
  }

  private get isShown(): boolean {
    return this.open || this.mode === 'inline';
  }

  /** The browser's cookie serves in pages of the server's own; others wait for their token. */
  private get canSignIn(): boolean {
    return this.service !== null || this.token !== null || new URL(this.server ?? agentChatService.server).origin === location.origin;
  }

  private launcherView(): TemplateResult {
    const { words, controller: { chat: { unread } } } = this;
    const name = unread ? `${words.open} (${unread} ${words.unread})` : words.open;
    return html`
      <button class="launcher" aria-label=${name} aria-expanded="false" @click=${() => this.show()}>
        ${CHAT}${unread ? html`<span class="badge" aria-hidden="true">${unread > 99 ? '99+' : unread}</span>` : nothing}
      </button>`;
  }

  private frameView(): TemplateResult {
    const { words, controller, mode } = this;
    const title = this.heading ?? words.title;
    return html`
      <section class="frame" aria-label=${title} @keydown=${this.pressed}>
        ${mode === 'inline' ? nothing : this.handleView('width')}${mode === 'floating' ? this.handleView('height') : nothing}
        <header>
          <span class="dot" data-status=${controller.status}></span>
          <h2><bdi>${title}</bdi></h2>
          <button class="quiet" aria-label=${words.newChat} title=${words.newChat} @click=${() => void this.newChat().then(() => this.composer.focus())}>${PLUS}</button>
          ${mode === 'inline' ? nothing : html`<button class="quiet" aria-label=${words.close} title=${words.close} @click=${() => this.hide()}>${CLOSE}</button>`}
        </header>
        ${this.statusView()}
        <div class="log" role="log" aria-live="off" aria-label=${words.messages} tabindex="0" @scroll=${this.scrolled}>
          ${messagesView(controller, words)}
        </div>
        ${this.isAtEnd ? nothing : html`<button class="to-end" @click=${() => this.scrollToEnd()}>${DOWN}${controller.chat.unread ? html`<span>${words.newMessages}</span>` : html`<span class="hidden">${words.newMessages}</span>`}</button>`}
        <div class="hidden" role="status">${this.spoken()}</div>
        ${this.composer.view(controller, words)}
      </section>`;
  }

  private statusView(): TemplateResult | typeof nothing {
    const { words, controller: { status, isRenewed } } = this;
    if (status === 'offline') return html`<div class="notice" role="status"><span dir="auto">${words.offline}</span><button class="link" @click=${this.reconnect}>${words.reconnect}</button></div>`;
    // One that is short is not worth a word.
    if (status === 'connecting') return html`<div class="notice late" role="status">${words.connecting}</div>`;
    return isRenewed ? html`<div class="notice" role="status">${words.renewed}</div>` : nothing;
  }

  private handleView(side: Side): TemplateResult {
    const { size, words } = this;
    return html`
      <div class="handle ${side}" role="separator" tabindex="0" aria-label=${words[side]}
        aria-orientation=${side === 'width' ? 'vertical' : 'horizontal'}
        aria-valuenow=${size.of(side)} aria-valuemin=${size.least(side)} aria-valuemax=${size.most(side)}
        @pointerdown=${(event: PointerEvent) => size.drag(side, event)} @keydown=${(event: KeyboardEvent) => size.press(side, event)}></div>`;
  }

  /** What a screen reader says: whole answers, not each piece. */
  private spoken(): string {
    const { chat } = this.controller;
    if (chat.failure) return chat.failure.text;
    const last = chat.items.at(-1);
    if (last && !last.isGrowing && last.message.sender === 'agent') return last.message.content;
    return chat.isTyping || last?.isGrowing ? this.words.typing : '';
  }

  private readonly reconnect = (): void => {
    if (this.controller.sessionId === null) void this.controller.open();
    // Else the click itself is the reason to connect again.
  };

  private readonly pressed = (event: KeyboardEvent): void => {
    if (event.key !== 'Escape' || event.isComposing || this.mode !== 'floating') return;
    event.stopPropagation();
    this.hide();
  };

  private readonly look = (): void => {
    if (this.isWatched) this.controller.seen();
  };

  private readonly scrolled = (): void => {
    const log = this.query('.log');
    if (log) this.isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR;
  };

  /** Stay at the end, where somebody was there. */
  private follow(): void {
    if (this.isShown && this.isAtEnd) this.scrollToEnd();
  }

  private scrollToEnd(): void {
    const log = this.query('.log');
    if (log) log.scrollTop = log.scrollHeight;
    this.isAtEnd = true;
  }

  private query(selector: string): HTMLElement | null {
    return this.renderRoot.querySelector(selector);
  }
}

/** Make `<agent-chat-panel>` known to the page; a second script of it changes nothing. */
export function define(): void {
  if (!customElements.get('agent-chat-panel')) customElements.define('agent-chat-panel', AgentChatPanel);
}
