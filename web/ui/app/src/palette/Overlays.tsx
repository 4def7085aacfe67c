import { threadStore } from '@branchline/client/thread/store';
import { forksOn, way } from '@branchline/client/thread/tree';
import { useEffect } from 'react';
import { useLocation } from 'wouter';
import { isTyping } from '../ui/keys';
import { prefer, usePreferences } from '../ui/preferences';
import { Help } from './Help';
import { openOverlay, useOverlay } from './overlay';
import { Palette } from './Palette';

/** The command palette, the help, and the keys that work everywhere. */
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
  o: () => prefer({ outline: !usePreferences.getState().outline }),
  s: () => prefer({ sidebar: !usePreferences.getState().sidebar }),
  '[': () => toFork(-1),
  ']': () => toFork(1),
};

const NEAR = 30;

/** Look at the fork before or after the one that is in the middle of the view. */
export function toFork(step: 1 | -1): void {
  const { data, head } = threadStore.getState();
  if (!head) return;
  const states = way(data.nodes, head);
  const forks = forksOn(data.children, states).map((id) => states[states.indexOf(id) + 1]).filter((id): id is string => !!id);
  const box = document.querySelector('.conversation')?.getBoundingClientRect();
  if (!box || !forks.length) return;
  const top = (id: string) => document.querySelector(`[data-state="${id}"]`)?.getBoundingClientRect().top;
  // The one that stands at the top already is neither before nor after.
  const next = step > 0 ? forks.find((id) => (top(id) ?? -Infinity) > box.top + NEAR) : forks.findLast((id) => (top(id) ?? -Infinity) < box.top - NEAR);
  if (next) document.querySelector(`[data-state="${next}"]`)?.scrollIntoView({ block: 'start' });
}
