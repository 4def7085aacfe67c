/** What this browser remembers: the look, the panels, and how workers were last configured. */
import type { Config } from '@branchline/client/api/types';
import { create } from 'zustand';
import { persist } from 'zustand/middleware';

export type Theme = 'system' | 'light' | 'dark';

interface Preferences {
  theme: Theme;
  sidebar: boolean;
  outline: boolean;
  /** The workers that were asked last, and those of each thread. */
  workers: string[];
  workersOf: Record<string, string[]>;
  configs: Record<string, Config>;
}

export const usePreferences = create<Preferences>()(
  persist(
    (): Preferences => ({ theme: 'system', sidebar: true, outline: true, workers: [], workersOf: {}, configs: {} }),
    { name: 'branchline.preferences' },
  ),
);

export const prefer = usePreferences.setState;

const OWNER = 'branchline.owner';

/** Remember things for this user; what is remembered for somebody else is forgotten. */
export function rememberFor(userId: string): void {
  const owner = localStorage.getItem(OWNER);
  if (owner && owner !== userId) forget();
  try {
    localStorage.setItem(OWNER, userId);
  } catch {
    // Storage is full or forbidden: then little is remembered.
  }
}

/** Forget everything but the look: drafts, choices, how workers were configured. */
export function forget(): void {
  for (const key of Object.keys(localStorage)) if (key.startsWith('branchline.')) localStorage.removeItem(key);
  prefer({ workers: [], workersOf: {}, configs: {} });
}

export function applyTheme(theme: Theme): void {
  if (theme === 'system') delete document.documentElement.dataset['theme'];
  else document.documentElement.dataset['theme'] = theme;
}
