import { api } from '@branchline/client/api/calls';
import type { Thread } from '@branchline/client/api/types';
import { applyThread } from '@branchline/client/thread/store';
import { useRef, useState } from 'react';
import { threadListChanged } from '../stores/threadLists';
import { isComposing } from '../ui/keys';
import { notifyError } from '../ui/notifications';

/** A field in place of a thread's title. Enter and leaving the field save, Escape cancels. */
export function RenameThread({ thread, onDone }: { thread: Thread; onDone: () => void }) {
  const [text, setText] = useState(thread.title ?? '');
  const finished = useRef(false);
  const finish = async (save: boolean) => {
    if (finished.current) return;
    finished.current = true;
    onDone();
    if (!save || text.trim() === (thread.title ?? '')) return;
    try {
      applyThread(await api.updateThread(thread.id, { title: text.trim() || null }));
      threadListChanged(thread.id);
    } catch (error) {
      notifyError(error);
    }
  };
  return (
    <input
      className="input rename"
      aria-label="Title"
      dir="auto"
      value={text}
      autoFocus
      maxLength={500}
      onFocus={(event) => event.target.select()}
      onChange={(event) => setText(event.target.value)}
      onBlur={() => void finish(true)}
      onKeyDown={(event) => {
        if (isComposing(event.nativeEvent)) return;
        if (event.key === 'Enter') void finish(true);
        if (event.key === 'Escape') void finish(false);
      }}
    />
  );
}
