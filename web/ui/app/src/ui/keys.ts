const IS_MAC = /Mac|iPhone|iPad/.test(navigator.userAgent);
export const MODIFIER = IS_MAC ? '⌘' : 'Ctrl ';

/** Whether a key press goes to a field for text. */
export function isTyping(event: KeyboardEvent): boolean {
  const target = event.target as HTMLElement | null;
  return !!target?.closest('input, textarea, select, [contenteditable="true"]');
}
