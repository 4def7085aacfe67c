/** Keeping the cursor in the message field. */

/** The thread whose message field takes the focus when it appears. */
let wanted: string | null = null;

export function focusComposer(): void {
  document.querySelector<HTMLElement>('[data-composer]')?.focus();
}

/** Have the message field of a thread that is opened next take the focus. */
export function focusWhenShown(threadId: string): void {
  wanted = threadId;
}

/** Whether the message field of a thread is to take the focus now that it appears; true once. */
export function takesFocus(threadId: string | null): boolean {
  const takes = threadId !== null && threadId === wanted;
  if (takes) wanted = null;
  return takes;
}

/** Whether the keyboard is on the screen only while a field has the focus. */
export function hasTouchKeyboard(): boolean {
  return matchMedia('(pointer: coarse)').matches;
}
