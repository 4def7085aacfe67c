import { create } from 'zustand';

/** What is shown above the page. */
type Overlay = 'palette' | 'help' | null;

export const useOverlay = create<{ overlay: Overlay }>(() => ({ overlay: null }));

export function openOverlay(overlay: Overlay): void {
  useOverlay.setState({ overlay });
}
