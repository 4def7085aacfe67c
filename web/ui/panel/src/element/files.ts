/** The files of a message, which are read with the panel's token. */
import { sizeText } from '@branchline/client/api/files';
import { html, type TemplateResult } from 'lit';
import type { ChatFile } from '../service/types';
import type { ChatController } from './ChatController';
import { FILE } from './icons';
import type { Labels } from './labels';

export function filesView(controller: ChatController, files: readonly ChatFile[], words: Labels): TemplateResult {
  return html`
    <div class="files">
      ${files.map((file) => html`
        <button class="file" aria-label="${words.download}: ${file.name}" @click=${() => void controller.download(file)}>
          ${FILE}<span dir="auto">${file.name}</span>${file.size ? html`<small dir="ltr">${sizeText(file.size)}</small>` : ''}
        </button>`)}
    </div>`;
}
