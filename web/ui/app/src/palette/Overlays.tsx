import { useEffect } from 'react';
import { useLocation } from 'wouter';
import { focusComposer } from '../composer/focus';
import { scrollToFork } from '../navigation/scrollToFork';
import { openOverlay, useOverlay } from '../stores/overlay';
import { setPreferences, usePreferences } from '../stores/preferences';
import { isTyping, writes } from '../ui/keys';
import { Help } from './Help';
import { Palette } from './Palette';

/** The command palette, the help, and the keyboard shortcuts that work everywhere. */
export function Overlays() {
  const overlay = useOverlay((state) => state.overlay);
  const [, navigate] = useLocation();
  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      if (event.defaultPrevented) return;
      const act = shortcut(event);
      if (act) {
        event.preventDefault();
        act(navigate);
      } else if (writes(event) && !isTyping(event) && !isDialogOpen()) focusComposer();
    };
    addEventListener('keydown', pressed);
    return () => removeEventListener('keydown', pressed);
  }, [navigate]);
  if (overlay === 'palette') return <Palette onClose={() => openOverlay(null)} />;
  if (overlay === 'help') return <Help onClose={() => openOverlay(null)} />;
  return null;
}

type Act = (navigate: (to: string) => void) => void;

/** What a key press does; none of these keys would write anything. */
function shortcut(event: KeyboardEvent): Act | undefined {
  const isFork = event.key === 'ArrowUp' || event.key === 'ArrowDown';
  if (event.altKey && isFork && !event.ctrlKey && !event.metaKey && !event.shiftKey && !isEdited(event.target)) {
    return isDialogOpen() ? undefined : () => scrollToFork(event.key === 'ArrowUp' ? -1 : 1);
  }
  if (!(event.metaKey || event.ctrlKey) || event.altKey) return undefined;
  const key = event.key.toLowerCase();
  const open = useOverlay.getState().overlay === 'palette';
  if (key === 'k' && !event.shiftKey && (open || !isDialogOpen())) return () => openOverlay(open ? null : 'palette');
  if (isDialogOpen()) return undefined;
  return key === '/' ? () => openOverlay('help') : event.shiftKey ? WITH_SHIFT[key] : undefined;
}

/** With Shift and Ctrl or ⌘. */
const WITH_SHIFT: Record<string, Act> = {
  o: (navigate) => navigate('/'),
  l: () => setPreferences({ outline: !usePreferences.getState().outline }),
  s: () => setPreferences({ sidebar: !usePreferences.getState().sidebar }),
};

function isDialogOpen(): boolean {
  return !!document.querySelector('dialog[open]');
}

/** Whether this is a field with text, in which Option and arrow keys move the cursor. */
function isEdited(target: EventTarget | null): boolean {
  return (target instanceof HTMLTextAreaElement || target instanceof HTMLInputElement) && target.value !== '';
}
