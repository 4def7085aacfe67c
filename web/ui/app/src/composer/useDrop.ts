import { type ClipboardEvent, type DragEvent, useState } from 'react';
import { notifyError } from '../ui/notifications';

/** The files that are dropped, and how many folders, which a browser brings as files that cannot be read. */
function dropped(data: DataTransfer): { files: File[]; folders: number } {
  const items = [...data.items].filter(({ kind }) => kind === 'file');
  const files = items.filter((item) => !item.webkitGetAsEntry()?.isDirectory);
  return { files: files.map((item) => item.getAsFile()).filter((file) => file !== null), folders: items.length - files.length };
}

/** What takes files that are dropped on an element, or pasted into it. */
export function useDrop(onFiles: (files: File[]) => void) {
  const [over, setOver] = useState(false);
  const brings = (event: DragEvent) => event.dataTransfer.types.includes('Files');
  return {
    over,
    handlers: {
      onDragOver: (event: DragEvent) => {
        if (!brings(event)) return;
        event.preventDefault();
        setOver(true);
      },
      onDragLeave: (event: DragEvent) => {
        if (!event.currentTarget.contains(event.relatedTarget as Node | null)) setOver(false);
      },
      onDrop: (event: DragEvent) => {
        setOver(false);
        if (!brings(event)) return;
        event.preventDefault();
        const { files, folders } = dropped(event.dataTransfer);
        if (folders) notifyError(new Error('A folder cannot be dropped here. Pack it into a ZIP archive.'));
        if (files.length) onFiles(files);
      },
      onPaste: (event: ClipboardEvent) => {
        const files = [...event.clipboardData.files];
        // A text that is copied from a document comes with a picture of it.
        if (!files.length || event.clipboardData.types.includes('text/plain')) return;
        event.preventDefault();
        onFiles(files);
      },
    },
  };
}
