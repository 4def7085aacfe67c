/** Files: sending one, and where it is read. */
import { BASE_PATH } from './basePath';
import { Problem, UNREACHABLE } from './request';
import type { FieldProblem, NamedFile, UploadedFile } from './types';

/** Where the content of a file is read. */
export function fileUrl(id: string): string {
  return `${BASE_PATH}/api/files/${id}/content`;
}

/** Pictures that the server sends so that a browser shows them. */
const PICTURES: ReadonlySet<string> = new Set(['image/png', 'image/jpeg', 'image/gif', 'image/webp', 'image/avif']);

export function isPicture({ type }: Pick<NamedFile, 'type'>): boolean {
  return PICTURES.has(type);
}

/**
 * Upload a file; `onProgress` is told which part of it is there, from 0 to 1.
 *
 * Throws `Problem`, and the signal's reason if it is aborted. By XMLHttpRequest, for fetch tells no progress.
 */
export function uploadFile(file: File, options: { signal: AbortSignal; onProgress: (part: number) => void }): Promise<UploadedFile> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open('POST', `${BASE_PATH}/api/files`);
    request.setRequestHeader('Accept', 'application/json');
    request.upload.onprogress = ({ loaded, total }) => options.onProgress(total ? loaded / total : 0);
    request.onerror = () => reject(new Problem(0, UNREACHABLE));
    request.onabort = () => reject(options.signal.reason as Error);
    request.onload = () => {
      const answer = parsed(request.responseText);
      if (request.status === 201 && answer.file) resolve(answer.file);
      else reject(new Problem(request.status, answer.detail ?? `The server answered ${request.status}.`, answer.errors ?? []));
    };
    options.signal.addEventListener('abort', () => request.abort());
    const body = new FormData();
    body.append('file', file);
    request.send(body);
  });
}

function parsed(text: string): { file?: UploadedFile; detail?: string; errors?: FieldProblem[] } {
  try {
    return JSON.parse(text) as { file?: UploadedFile };
  } catch {
    return {};
  }
}

/** Whether a worker that takes files of the types `accepts`, as `image/*`, takes one of this type. */
export function isAccepted(accepts: readonly string[], type: string): boolean {
  return accepts.some((accepted) => accepted === '*/*' || accepted === type || (accepted.endsWith('/*') && type.startsWith(accepted.slice(0, -1))));
}

const UNITS = ['bytes', 'KB', 'MB', 'GB'];

/** A size for people: `1.4 MB`. */
export function sizeText(bytes: number): string {
  let [size, unit] = [bytes, 0];
  while (size >= 1000 && unit < UNITS.length - 1) [size, unit] = [size / 1000, unit + 1];
  return `${size < 10 && unit ? size.toFixed(1) : Math.round(size)} ${UNITS[unit]}`;
}
