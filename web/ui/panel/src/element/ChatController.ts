/** Connects a panel with its chat: what is told becomes what is shown, and what is done is sent. */
import { Problem } from '@branchline/client/api/request';
import type { ReactiveController, ReactiveControllerHost } from 'lit';
import * as conversation from '../conversation/conversation';
import { keyOf, type Place, type Source } from '../conversation/sources';
import type { AgentChatService } from '../service/agentChatService';
import { type AgentType, type ChatFile, ChatError, type ChatMessage, type Passage, type SessionKind, type Status } from '../service/types';
import { uuid } from '../service/uuid';
import { save } from '../browser/download';
import type { PanelEvents } from './PanelElement';

/** What a chat needs of the panel that shows it. */
export interface ChatHost extends ReactiveControllerHost {
  readonly chatService: AgentChatService;
  agentType: AgentType;
  projectId: string | null;
  sessionId: string | null;
  context: Record<string, unknown> | null;
  /** Whether somebody looks at the end of the chat. */
  readonly isWatched: boolean;
  announce<Name extends keyof PanelEvents>(name: Name, detail: PanelEvents[Name]): void;
}

export class ChatController implements ReactiveController {
  chat = conversation.EMPTY;
  status: Status = 'connecting';
  sessionId: string | null = null;
  /** Leads to earlier messages; null: there are none; undefined: that is not known yet. */
  private cursor: string | null | undefined;
  /** Whether the chat that was here has expired while the panel showed it. */
  isRenewed = false;
  /** What is around the sources that were opened, by their places. */
  around: ReadonlyMap<string, readonly Passage[]> = new Map();
  private files: ChatFile[] = [];
  /** Which connection is the one of now, where another one is still being made. */
  private opening = 0;
  /** Resolves once the last one is made, or could not be. */
  private opened = Promise.resolve();

  constructor(private readonly host: ChatHost) {
    host.addController(this);
  }

  hostDisconnected(): void {
    this.close();
  }

  /** Show the chat that the panel is for: a given one, the last one here, or a new one, which may go on with another. */
  open(isNew = false, continues?: string): Promise<void> {
    this.opened = this.begin(isNew, continues);
    return this.opened;
  }

  private async begin(isNew: boolean, continues: string | undefined): Promise<void> {
    this.close();
    const opening = this.opening;
    const { host } = this;
    const service = host.chatService;
    const kind: SessionKind = { projectId: host.projectId ?? undefined, agentType: host.agentType };
    this.show(conversation.EMPTY);
    this.setStatus('connecting');
    try {
      const given = isNew ? null : host.sessionId;
      const begin = isNew ? service.createSession(kind.projectId, kind.agentType, continues) : service.resumeSession(kind.projectId, kind.agentType);
      const sessionId = given ?? (await begin).session_id;
      if (opening === this.opening) this.connect(sessionId, kind);
    } catch (error) {
      if (opening === this.opening) this.fail(error);
    }
  }

  close(): void {
    this.opening += 1;
    if (this.sessionId === null) return;
    this.chatService.offStatusChange(this.sessionId, this.setStatus);
    this.chatService.offSessionChange(this.sessionId, this.moved);
    this.chatService.disconnectWebSocket(this.sessionId);
    this.sessionId = null;
  }

  async send(text: string, files: readonly ChatFile[] = []): Promise<void> {
    // Opened twice, a new chat would be begun twice, and either could be the one to come back to.
    const { opened } = this;
    await opened;
    if (this.sessionId === null) await (this.opened === opened ? this.open() : this.opened);
    if (this.sessionId === null) return;
    this.files.push(...files);
    this.deliver({ clientId: uuid(), message: text, context: this.host.context, files: files.map(({ id }) => id) });
  }

  /** Send a message again that was refused, or else the last one, whose run has failed. */
  retry(item?: conversation.Shown): void {
    const again = item ?? this.chat.items.findLast(({ message }) => message.sender === 'user');
    if (!again) return;
    if (again.delivery?.state === 'refused') this.discard(again);
    void this.send(again.message.content, again.message.files ?? []);
  }

  /** Send a message in a new chat, for which there was no room in this one. */
  async sendOn(item: conversation.Shown): Promise<void> {
    await this.open(true, this.sessionId ?? undefined);
    await this.send(item.message.content, item.message.files ?? []);
  }

  /** Take back a message that was refused. */
  discard({ delivery }: conversation.Shown): void {
    if (delivery) this.show(conversation.withdrawn(this.chat, delivery.clientId));
  }

  stop(): void {
    if (this.sessionId) this.chatService.stop(this.sessionId).catch(this.fail);
  }

  answer(question: ChatMessage, answer: unknown): void {
    if (!this.sessionId) return;
    const id = typeof question.data['id'] === 'string' ? question.data['id'] : null;
    this.chatService.answer(this.sessionId, answer, id).then(
      () => this.show(conversation.answered(this.chat, question.id, answer)),
      this.fail,
    );
  }

  /** Whether there may be messages before those that are shown. */
  get hasEarlier(): boolean {
    return this.cursor !== null && this.chat.items.length >= SHOWN;
  }

  async earlier(): Promise<void> {
    if (!this.sessionId || this.cursor === null) return;
    try {
      // The newest ones are here already; where they end is told with them.
      const start = this.cursor ?? (await this.chatService.getSession(this.sessionId, { limit: SHOWN })).next;
      this.cursor = start;
      if (start === null) return this.host.requestUpdate();
      const { messages, next } = await this.chatService.getSession(this.sessionId, { limit: SHOWN, cursor: start });
      this.cursor = next;
      this.show(conversation.earlier(this.chat, messages));
    } catch (error) {
      this.fail(error);
    }
  }

  /** Upload a file for a message; null where that has failed. */
  async upload(file: File): Promise<ChatFile | null> {
    try {
      return await this.chatService.uploadFile(file);
    } catch (error) {
      this.fail(error);
      return null;
    }
  }

  async download(file: ChatFile): Promise<void> {
    try {
      save(await this.chatService.downloadFile(file.id), file.name);
    } catch (error) {
      this.fail(error);
    }
  }

  /** Read what is around a source that its user opens. Resolves once it is shown. */
  async openSource({ place }: Source): Promise<void> {
    if (!place || this.around.has(keyOf(place))) return;
    const first = Math.max(0, place.position - AROUND);
    try {
      this.found(place, await this.chatService.readPassages(place.sourceId, place.documentId, first, place.position - first + 1 + AROUND));
    } catch (error) {
      // Another error changes nothing: the message has the passage itself, and it is tried again when it is opened again.
      if (error instanceof Problem && error.status === 404) this.found(place, []);
    }
    await this.host.updateComplete;
  }

  /** Show everything again. */
  refresh(): void {
    this.host.requestUpdate();
  }

  /** Somebody looks at the end of the chat. */
  seen(): void {
    this.show(conversation.seen(this.chat));
  }

  private get chatService(): AgentChatService {
    return this.host.chatService;
  }

  private connect(sessionId: string, renewAs: SessionKind): void {
    const service = this.chatService;
    this.sessionId = sessionId;
    this.cursor = undefined;
    this.isRenewed = false;
    service.onStatusChange(sessionId, this.setStatus);
    service.onSessionChange(sessionId, this.moved);
    service.connectWebSocket(
      sessionId,
      (message) => {
        this.show(conversation.told(this.chat, message, this.host.isWatched));
        if (message.sender === 'agent') this.host.announce('agent-message', { message });
      },
      (isTyping) => this.show(conversation.typed(this.chat, isTyping)),
      (content, origin) => this.show(conversation.grown(this.chat, content, origin)),
      () => this.show(conversation.completed(this.chat)),
      this.fail,
      {
        history: true,
        onReset: () => this.show(conversation.reset(this.chat)),
        onSent: (clientId, result) => this.show(conversation.settled(this.chat, clientId, result instanceof ChatError ? result : null)),
        renewAs,
      },
    );
    void service.unsentMessages(sessionId).then((unsent) => {
      for (const message of unsent) this.show(conversation.written(this.chat, message, [], true));
    });
    this.host.announce('session-change', { sessionId, expiredId: null });
  }

  private deliver(unsent: Parameters<typeof conversation.written>[1]): void {
    this.show(conversation.written(this.chat, unsent, this.files));
    const { clientId, message, context, files } = unsent;
    // What became of it is told by onSent.
    this.chatService.sendMessage(this.sessionId!, message, context, { clientId, files }).catch(() => {});
  }

  private readonly setStatus = (status: Status): void => {
    this.status = status;
    this.host.announce('status-change', { status });
    this.host.requestUpdate();
  };

  private readonly moved = (sessionId: string, expiredId: string): void => {
    this.sessionId = sessionId;
    this.cursor = null;
    this.isRenewed = true;
    this.show(conversation.reset(this.chat));
    this.host.announce('session-change', { sessionId, expiredId });
  };

  private readonly fail = (error: unknown): void => {
    const told = error instanceof Error ? error : new Error(String(error));
    const isOfRun = told instanceof ChatError && told.runId !== null;
    this.show(conversation.failed(this.chat, { text: told.message, isOfRun }));
    if (this.sessionId === null) this.setStatus('offline');
    this.host.announce('chat-error', { error: told });
  };

  private found(place: Place, passages: readonly Passage[]): void {
    this.around = new Map(this.around).set(keyOf(place), passages);
    this.host.requestUpdate();
  }

  private show(chat: conversation.Conversation): void {
    if (chat === this.chat) return;
    const { unread } = this.chat;
    this.chat = chat;
    if (unread !== chat.unread) this.host.announce('unread-change', { unread: chat.unread });
    this.host.requestUpdate();
  }
}

/** Passages before and after the one that is cited. */
const AROUND = 1;
/** Messages that the server tells at first, and in each window before. */
const SHOWN = 50;
