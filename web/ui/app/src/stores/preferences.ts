/** What is kept in this browser: the theme, the panels, which workers were asked, and the configurations for new threads. */
import { STORAGE_PREFIX } from '@branchline/client/api/basePath';
import type { Config } from '@branchline/client/api/types';
import { create } from 'zustand';
import { persist } from 'zustand/middleware';

export type Theme = 'system' | 'light' | 'dark';

interface Preferences {
  theme: Theme;
  sidebar: boolean;
  outline: boolean;
  /** The workers that were asked last in a new thread, and those that were chosen in each thread. */
  workers: string[];
  workersOf: Record<string, string[]>;
  /** The configurations of the workers in new threads. */
  configs: Record<string, Config>;
}

export const usePreferences = create<Preferences>()(
  persist(
    (): Preferences => ({ theme: 'system', sidebar: true, outline: true, workers: [], workersOf: {}, configs: {} }),
    { name: `${STORAGE_PREFIX}preferences` },
  ),
);

export const setPreferences = usePreferences.setState;

const OWNER = `${STORAGE_PREFIX}owner`;

/** Note whose data is kept here; the data of another user is deleted. */
export function setOwner(userId: string): void {
  const owner = localStorage.getItem(OWNER);
  if (owner && owner !== userId) clearUserData();
  try {
    localStorage.setItem(OWNER, userId);
  } catch {
    // Storage is full or forbidden: then hardly anything is kept.
  }
}

/** Delete everything but the theme and the panels: drafts, edited messages, chosen branches, workers and their configurations. */
export function clearUserData(): void {
  for (const storage of [localStorage, sessionStorage]) {
    for (const key of Object.keys(storage)) if (key.startsWith(STORAGE_PREFIX)) storage.removeItem(key);
  }
  setPreferences({ workers: [], workersOf: {}, configs: {} });
}

export function applyTheme(theme: Theme): void {
  if (theme === 'system') delete document.documentElement.dataset['theme'];
  else document.documentElement.dataset['theme'] = theme;
}
