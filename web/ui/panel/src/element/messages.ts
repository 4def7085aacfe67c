/** The messages of a chat. */
import { html, nothing, type TemplateResult } from 'lit';
import { guard } from 'lit/directives/guard.js';
import { repeat } from 'lit/directives/repeat.js';
import { unsafeHTML } from 'lit/directives/unsafe-html.js';
import { question, type Shown } from '../conversation/conversation';
import { keyOf, type Source, sourcesOf } from '../conversation/sources';
import type { ChatMessage } from '../service/types';
import type { ChatController } from './ChatController';
import { filesView } from './files';
import { RETRY } from './icons';
import type { Labels } from './labels';
import { questionView } from './question';

let render: typeof import('./markdown').render | null = null;

/** A text in Markdown; as it is until what renders it is loaded. */
function proseView(controller: ChatController, text: string, sources: readonly number[]): TemplateResult {
  if (!render) {
    void import('./markdown').then((loaded) => {
      render = loaded.render;
      controller.refresh();
    });
    return html`<div class="prose plain" dir="auto">${text}</div>`;
  }
  return html`<div class="prose">${render(text, sources).map((block) => html`<div dir="auto">${unsafeHTML(block)}</div>`)}</div>`;
}

export function messagesView(controller: ChatController, words: Labels): TemplateResult {
  const { chat } = controller;
  const asked = question(chat);
  const isEmpty = !chat.items.length && !chat.failure;
  return html`
    ${controller.hasEarlier ? html`<button class="earlier" @click=${() => void controller.earlier()}>${words.earlier}</button>` : nothing}
    ${isEmpty ? html`<p class="empty" dir="auto">${words.empty}</p>` : nothing}
    ${repeat(chat.items, ({ message, delivery }) => delivery?.clientId ?? message.id, (item) => html`
      ${item.message.id === chat.firstUnread ? html`<div class="unread" role="separator"><span>${words.newMessages}</span></div>` : nothing}
      ${item.message === asked ? questionView(controller, asked, words) : messageView(controller, item, words)}`)}
    ${chat.isTyping && !chat.items.some(({ isGrowing }) => isGrowing) ? html`<div class="typing" aria-hidden="true"><i></i><i></i><i></i></div>` : nothing}
    ${chat.failure === null ? nothing : html`
      <div class="failure" role="alert">
        <p dir="auto">${chat.failure.text}</p>
        ${chat.failure.isOfRun ? html`<button class="link" @click=${() => controller.retry()}>${RETRY}${words.retry}</button>` : nothing}
      </div>`}`;
}

function messageView(controller: ChatController, item: Shown, words: Labels): TemplateResult {
  const { message, delivery, isGrowing } = item;
  const isMine = message.sender === 'user';
  return html`
    <article class="message ${isMine ? 'mine' : 'theirs'}${isGrowing ? ' growing' : ''}" data-state=${delivery?.state ?? nothing}>
      <span class="hidden">${isMine ? words.you : (message.author ?? words.agent)}:</span>
      ${isMine ? (message.content ? html`<div class="bubble" dir="auto">${message.content}</div>` : nothing) : guard([message, render, controller.around], () => bodyView(controller, message, words))}
      ${message.files?.length ? filesView(controller, message.files, words) : nothing}
      ${delivery ? deliveryView(controller, item, words) : nothing}
    </article>`;
}

function bodyView(controller: ChatController, message: ChatMessage, words: Labels): TemplateResult {
  const { type, channel, content, data } = message;
  if (channel === 'reasoning') return html`<details class="aside"><summary>${words.reasoning}</summary>${proseView(controller, content, [])}</details>`;
  if (type === 'function') return html`<p class="aside">${words.tool} <code>${String(data['name'] ?? '…')}</code></p>`;
  if (type === 'code' || type === 'console') return html`<div class="prose"><pre dir="ltr" tabindex="0"><code>${content}</code></pre></div>`;
  if (type === 'confirmation') return answeredView(message, words);
  const sources = sourcesOf(message);
  return html`
    <div @click=${openSource}>
      ${proseView(controller, content, sources.map(({ number }) => number))}
      ${sources.length ? sourcesView(controller, sources, words) : nothing}
    </div>`;
}

function answeredView({ content, data }: ChatMessage, words: Labels): TemplateResult {
  const answer = data['answer'];
  return html`
    <div class="answered">
      <p dir="auto">${content}</p>
      ${answer === undefined ? nothing : html`<p>${words.answered} <strong dir="auto">${typeof answer === 'string' ? answer : JSON.stringify(answer)}</strong></p>`}
    </div>`;
}

function sourcesView(controller: ChatController, sources: readonly Source[], words: Labels): TemplateResult {
  const toggled = async ({ target }: Event, source: Source) => {
    const details = target as HTMLDetailsElement;
    if (!details.open) return;
    await controller.openSource(source);
    scrollToCited(details);
  };
  return html`
    <div class="sources" role="group" aria-label=${words.sources}>
      ${sources.map((source) => html`
        <details data-number=${source.number} @toggle=${(event: Event) => void toggled(event, source)}>
          <summary><span class="number">${source.number}</span><span dir="auto">${[source.document, ...source.titles].filter(Boolean).join(' › ')}</span></summary>
          ${passageView(controller, source, words)}
        </details>`)}
    </div>`;
}

/** A document at the passage that is cited, or that passage alone. */
function passageView(controller: ChatController, { place, text }: Source, words: Labels): TemplateResult {
  const around = place ? controller.around.get(keyOf(place)) : undefined;
  if (!around?.some((passage) => passage.text === text)) {
    return html`
      <blockquote class="passages" dir="auto" tabindex="0">${text}</blockquote>
      ${around ? html`<p class="aside">${words.changed}</p>` : nothing}`;
  }
  return html`
    <div class="passages" tabindex="0">
      ${around.map((passage) => passage.text === text
        ? html`<blockquote class="cited" dir="auto" aria-label=${words.cited}>${passage.text}</blockquote>`
        : html`<blockquote dir="auto">${passage.text}</blockquote>`)}
    </div>`;
}

/** Have the cited passage at the top of what is shown of its document. */
function scrollToCited(details: Element): void {
  const cited = details.querySelector('.cited');
  const box = cited?.parentElement;
  if (cited && box) box.scrollTop += cited.getBoundingClientRect().top - box.getBoundingClientRect().top - 8;
}

/** A number in the text opens the passage that it stands for. */
function openSource(event: Event): void {
  const link = (event.target as Element).closest('a[data-source]');
  if (!link) return;
  event.preventDefault();
  const source = (event.currentTarget as Element).querySelector<HTMLDetailsElement>(`details[data-number="${link.getAttribute('data-source')}"]`);
  if (!source) return;
  source.open = true;
  source.querySelector('summary')?.focus();
  source.scrollIntoView({ block: 'nearest' });
}

function deliveryView(controller: ChatController, item: Shown, words: Labels): TemplateResult | typeof nothing {
  const { state, error } = item.delivery!;
  if (state === 'sent') return nothing;
  if (state === 'waiting') return html`<p class="delivery late">${words.waiting}</p>`;
  return html`
    <p class="delivery refused" role="alert">
      <span dir="auto">${words.refused}: ${error?.message}</span>
      ${error?.code === 'session_full'
        ? html`<button class="link" @click=${() => void controller.sendOn(item)}>${words.sendOn}</button>`
        : html`<button class="link" @click=${() => controller.retry(item)}>${words.retry}</button>`}
      <button class="link" @click=${() => controller.discard(item)}>${words.discard}</button>
    </p>`;
}
