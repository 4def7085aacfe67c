import { api } from '@branchline/client/api/calls';
import { isAccepted, uploadFile } from '@branchline/client/api/files';
import { errorMessage } from '@branchline/client/api/request';
import type { UploadedFile } from '@branchline/client/api/types';
import { useEffect, useRef, useState } from 'react';
import { knowledgeChanged } from '../stores/knowledge';
import { useWorkers } from '../stores/workers';
import { grouped, MOST_FILES } from './additions';

/** A file on its way to a source. */
export interface Upload {
  key: number;
  name: string;
  /** Which part of it the server has, from 0 to 1. */
  progress: number;
  /** Why it cannot be added. */
  problem?: string;
}

const NOT_ACCEPTED = 'This kind of file cannot be added: only Markdown, text, HTML, PDF, Word (DOCX), and ZIP archives of these.';
let keys = 0;

/** Uploads files one after the other, and has them added to a source. What fails stays listed until it is dismissed. */
export function useUploads(sourceId: string) {
  const [uploads, setUploads] = useState<readonly Upload[]>([]);
  const accepts = useWorkers().data?.find((worker) => worker.id === 'ingest')?.accepts;
  const abort = useRef(new AbortController());
  useEffect(() => {
    abort.current = new AbortController();
    return () => abort.current.abort();
  }, []);

  const change = (key: number, changes: Partial<Upload>) => setUploads((all) => all.map((one) => (one.key === key ? { ...one, ...changes } : one)));
  const dismiss = (key: number) => setUploads((all) => all.filter((one) => one.key !== key));

  const upload = async (file: File, key: number): Promise<{ key: number; file: UploadedFile } | null> => {
    const { signal } = abort.current;
    try {
      const uploaded = await uploadFile(file, { signal, onProgress: (progress) => change(key, { progress }) });
      if (!accepts || isAccepted(accepts, uploaded.type)) return { key, file: uploaded };
      // One that stays, since the server cannot be reached, goes after a day by itself.
      api.deleteFile(uploaded.id).catch(() => {});
      change(key, { problem: NOT_ACCEPTED });
    } catch (error) {
      if (!signal.aborted) change(key, { problem: errorMessage(error) });
    }
    return null;
  };

  const add = async (files: readonly File[]) => {
    const { signal } = abort.current;
    const waiting = files.map((file) => ({ file, key: (keys += 1) }));
    setUploads((all) => [...all, ...waiting.map(({ file, key }) => ({ key, name: file.name, progress: 0 }))]);
    for (const group of grouped(waiting, MOST_FILES)) {
      const sent: { key: number; file: UploadedFile }[] = [];
      for (const { file, key } of group) {
        if (signal.aborted) break; // what was sent by then is added
        const done = await upload(file, key);
        if (done) sent.push(done);
      }
      if (!sent.length) continue;
      try {
        await api.createIngestion(sourceId, { files: sent.map(({ file }) => file.id) });
        for (const { key } of sent) dismiss(key);
        void knowledgeChanged();
      } catch (error) {
        for (const { key } of sent) change(key, { problem: errorMessage(error) });
      }
    }
  };

  return { uploads, add, dismiss };
}
