import { useEffect, useRef } from 'react';
import { isComposing } from './keys';

/** Have the Escape key close what lies above the page, unless a menu or a dialog above it takes the key. */
export function useEscape(isOpen: boolean, close: () => void): void {
  const latest = useRef(close);
  latest.current = close;
  useEffect(() => {
    if (!isOpen) return undefined;
    const pressed = (event: KeyboardEvent) => {
      if (event.key === 'Escape' && !event.defaultPrevented && !isComposing(event) && !document.querySelector('dialog[open]')) latest.current();
    };
    addEventListener('keydown', pressed);
    return () => removeEventListener('keydown', pressed);
  }, [isOpen]);
}
