import { uploadFile } from '@branchline/client/api/files';
import { errorMessage } from '@branchline/client/api/request';
import type { NamedFile } from '@branchline/client/api/types';
import { api } from '@branchline/client/api/calls';
import { useCallback, useEffect, useRef, useState } from 'react';

/** A file that is to go with the next message. */
export interface Attachment {
  key: number;
  name: string;
  size: number;
  /** Which part of it the server has, from 0 to 1. */
  progress: number;
  /** Once the server has it. */
  file?: NamedFile;
  /** Why it cannot be sent. */
  problem?: string;
  abort: AbortController;
}

/** As many as a message may name. */
const MOST = 20;
let keys = 0;

/** The files that are to go with the next message: added, uploaded at once, and removed. */
export function useAttachments() {
  const [attachments, setAttachments] = useState<readonly Attachment[]>([]);
  const now = useRef(attachments);
  now.current = attachments;
  useEffect(() => () => now.current.forEach(({ file, abort }) => !file && abort.abort()), []);

  const change = useCallback((key: number, changes: Partial<Attachment>) => {
    setAttachments((all) => all.map((one) => (one.key === key ? { ...one, ...changes } : one)));
  }, []);

  const add = useCallback(
    (files: readonly File[]) => {
      const added = files.slice(0, Math.max(0, MOST - now.current.length)).map((file) => ({
        file,
        attachment: { key: (keys += 1), name: file.name, size: file.size, progress: 0, abort: new AbortController() } satisfies Attachment,
      }));
      setAttachments((all) => [...all, ...added.map(({ attachment }) => attachment)]);
      for (const { file, attachment: { key, abort } } of added) {
        uploadFile(file, { signal: abort.signal, onProgress: (progress) => change(key, { progress }) }).then(
          (uploaded) => change(key, { file: uploaded, progress: 1 }),
          (error: unknown) => !abort.signal.aborted && change(key, { problem: errorMessage(error) }),
        );
      }
    },
    [change],
  );

  const remove = useCallback(({ key, file, abort }: Attachment) => {
    abort.abort();
    setAttachments((all) => all.filter((one) => one.key !== key));
    // One that stays, since the server cannot be reached, goes after a day by itself.
    if (file) api.deleteFile(file.id).catch(() => {});
  }, []);

  /** These have been sent. */
  const forget = useCallback((sent: readonly Attachment[]) => {
    setAttachments((all) => all.filter((one) => !sent.includes(one)));
  }, []);

  return { attachments, add, remove, forget };
}
