import { useEffect } from 'react';
import { useLocation } from 'wouter';
import { scrollToFork } from '../navigation/scrollToFork';
import { openOverlay, useOverlay } from '../stores/overlay';
import { setPreferences, usePreferences } from '../stores/preferences';
import { isTyping } from '../ui/keys';
import { Help } from './Help';
import { Palette } from './Palette';

/** The command palette, the help, and the keyboard shortcuts that work everywhere. */
export function Overlays() {
  const overlay = useOverlay((state) => state.overlay);
  const [, navigate] = useLocation();
  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      if ((event.metaKey || event.ctrlKey) && event.key.toLowerCase() === 'k') {
        event.preventDefault();
        const open = useOverlay.getState().overlay === 'palette';
        if (open || !document.querySelector('dialog[open]')) openOverlay(open ? null : 'palette');
        return;
      }
      if (event.defaultPrevented || event.metaKey || event.ctrlKey || event.altKey || isTyping(event)) return;
      if (document.querySelector('dialog[open]')) return;
      const act = KEYS[event.key];
      if (!act) return;
      event.preventDefault();
      act(navigate);
    };
    addEventListener('keydown', pressed);
    return () => removeEventListener('keydown', pressed);
  }, [navigate]);
  if (overlay === 'palette') return <Palette onClose={() => openOverlay(null)} />;
  if (overlay === 'help') return <Help onClose={() => openOverlay(null)} />;
  return null;
}

const KEYS: Record<string, (navigate: (to: string) => void) => void> = {
  '?': () => openOverlay('help'),
  '/': () => document.querySelector<HTMLElement>('[data-composer]')?.focus(),
  n: (navigate) => navigate('/'),
  o: () => setPreferences({ outline: !usePreferences.getState().outline }),
  s: () => setPreferences({ sidebar: !usePreferences.getState().sidebar }),
  '[': () => scrollToFork(-1),
  ']': () => scrollToFork(1),
};
