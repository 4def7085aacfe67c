const IS_MAC = /Mac|iPhone|iPad/.test(navigator.userAgent);
export const MODIFIER = IS_MAC ? '⌘' : 'Ctrl ';
export const SHIFT = IS_MAC ? '⇧' : 'Shift ';

/** What takes the keys that are pressed in it: fields for text, and lists that are searched by typing. */
const TAKES_KEYS = 'input, textarea, select, [contenteditable="true"], [role="tree"], [role="menu"], [role="listbox"]';

/** Whether a key press goes to a field for text, or to a list that is searched by typing. */
export function isTyping(event: KeyboardEvent): boolean {
  const target = event.target as HTMLElement | null;
  return !!target?.closest(TAKES_KEYS);
}

/**
 * Whether a key press belongs to an input method, as the Enter that takes over a word does. Safari ends the
 * composition before that key press, and marks it by its code only.
 */
export function isComposing(event: Pick<KeyboardEvent, 'isComposing' | 'keyCode'>): boolean {
  return event.isComposing || event.keyCode === 229;
}

/** Whether a key press would write something: a character, or the beginning of one that an input method composes. */
export function writes(event: KeyboardEvent): boolean {
  // AltGr, as which some systems report Ctrl and Alt, and Option write characters.
  const isPlain = event.getModifierState('AltGraph') || !(event.ctrlKey || (event.altKey && !IS_MAC));
  if (event.metaKey || !isPlain) return false;
  return (event.key.length === 1 && event.key !== ' ') || event.key === 'Process' || event.key === 'Dead';
}
