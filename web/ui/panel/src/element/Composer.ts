/** Where messages are written, with the files that go along. */
import { html, type LitElement, nothing, type TemplateResult } from 'lit';
import { live } from 'lit/directives/live.js';
import type { ChatFile } from '../service/types';
import type { ChatController } from './ChatController';
import { CLIP, CLOSE, SEND, STOP } from './icons';
import type { Labels } from './labels';

/** A file that was chosen. */
interface Attachment {
  name: string;
  /** null: it is still uploaded. */
  file: ChatFile | null;
}

export class Composer {
  private text = '';
  private attachments: readonly Attachment[] = [];

  constructor(private readonly host: LitElement) {}

  focus(): void {
    this.field?.focus();
  }

  view(controller: ChatController, words: Labels): TemplateResult {
    const isBusy = controller.chat.isTyping || controller.chat.items.some(({ isGrowing }) => isGrowing);
    const submit = (event: Event) => {
      event.preventDefault();
      this.submit(controller);
    };
    const pressed = (event: KeyboardEvent) => {
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      submit(event);
    };
    const pasted = (event: ClipboardEvent) => this.add(controller, event, event.clipboardData?.files);
    const dropped = (event: DragEvent) => this.add(controller, event, event.dataTransfer?.files);
    return html`
      <form class="composer" @submit=${submit} @drop=${dropped} @dragover=${(event: Event) => event.preventDefault()}>
        ${this.attachments.length ? html`<ul class="attachments">${this.attachments.map((one) => this.attachmentView(one, words))}</ul>` : nothing}
        <div class="field">
          <label class="quiet attach" title=${words.attach}>
            ${CLIP}<input class="hidden" type="file" multiple aria-label=${words.attach} @change=${(event: Event) => this.chosen(controller, event.target as HTMLInputElement)}>
          </label>
          <textarea rows="1" dir="auto" aria-label=${words.message} placeholder=${words.placeholder} .value=${live(this.text)}
            @input=${this.typed} @keydown=${pressed} @paste=${pasted}></textarea>
          ${isBusy ? html`<button type="button" class="round stop" aria-label=${words.stop} title=${words.stop} @click=${() => controller.stop()}>${STOP}</button>` : nothing}
          <button class="round main" aria-label=${words.send} title=${words.send} ?disabled=${!this.isReady}>${SEND}</button>
        </div>
      </form>`;
  }

  private get field(): HTMLTextAreaElement | null {
    return this.host.renderRoot.querySelector('textarea');
  }

  private get isReady(): boolean {
    return (this.text.trim() !== '' || this.attachments.length > 0) && this.attachments.every(({ file }) => file);
  }

  private attachmentView(attachment: Attachment, words: Labels): TemplateResult {
    return html`
      <li class="file"><span dir="auto">${attachment.name}</span>${attachment.file ? nothing : html`<small>${words.uploading}</small>`}
        <button type="button" class="quiet" aria-label="${words.remove}: ${attachment.name}" @click=${() => this.remove(attachment)}>${CLOSE}</button>
      </li>`;
  }

  private submit(controller: ChatController): void {
    if (!this.isReady) return;
    const files = this.attachments.flatMap(({ file }) => file ?? []);
    // The server wants a text; the names of the files are one.
    const text = this.text.trim() || files.map(({ name }) => name).join(', ');
    this.text = '';
    this.attachments = [];
    void controller.send(text, files);
    this.changed();
  }

  private readonly typed = (event: Event): void => {
    this.text = (event.target as HTMLTextAreaElement).value;
    this.changed();
  };

  private chosen(controller: ChatController, input: HTMLInputElement): void {
    for (const file of input.files ?? []) void this.upload(controller, file);
    input.value = '';
  }

  private add(controller: ChatController, event: Event, files: FileList | undefined): void {
    if (!files?.length) return;
    event.preventDefault();
    for (const file of files) void this.upload(controller, file);
  }

  private async upload(controller: ChatController, file: File): Promise<void> {
    const attachment: Attachment = { name: file.name, file: null };
    this.attachments = [...this.attachments, attachment];
    this.changed();
    const uploaded = await controller.upload(file);
    if (!uploaded) return this.remove(attachment);
    this.attachments = this.attachments.map((one) => (one === attachment ? { ...one, file: uploaded } : one));
    this.changed();
  }

  private remove(attachment: Attachment): void {
    this.attachments = this.attachments.filter((one) => one !== attachment);
    this.changed();
  }

  private changed(): void {
    this.host.requestUpdate();
  }
}
