/** What the browser keeps for the panel. Some pages have no storage; what they keep is gone with them. */

export function kept(key: string): string | null {
  try {
    return localStorage.getItem(`branchline.panel.${key}`);
  } catch {
    return null;
  }
}

export function keep(key: string, value: string): void {
  try {
    localStorage.setItem(`branchline.panel.${key}`, value);
  } catch {
    // it lasts as long as the page
  }
}
