/** Texts that were typed and not sent yet, kept as long as the tab is open: also after a reload. */
import { STORAGE_PREFIX } from '@branchline/client/api/basePath';
import { useState } from 'react';

const key = (name: string) => `${STORAGE_PREFIX}text.${name}`;

/** The name of the text of a message that is being edited. */
export const editOf = (stateId: string) => `edit.${stateId}`;

/** A text as it was left; null if it was not changed. */
export function keptText(name: string): string | null {
  return sessionStorage.getItem(key(name));
}

/** A text that is typed, with a setter. It is kept while it is another than the `original`. */
export function useKeptText(name: string, original = ''): [string, (text: string) => void] {
  const [text, setText] = useState(() => keptText(name) ?? original);
  const change = (changed: string) => {
    setText(changed);
    try {
      if (changed === original) sessionStorage.removeItem(key(name));
      else sessionStorage.setItem(key(name), changed);
    } catch {
      // Storage is full or forbidden: the text lasts as long as its field.
    }
  };
  return [text, change];
}
