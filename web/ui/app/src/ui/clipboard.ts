/**
 * Put a text on the clipboard. Where the page came over plain HTTP there is no `navigator.clipboard`; then a
 * field with the text is selected and copied, as before there was one. Raises an error if that fails too.
 */
export async function writeClipboard(text: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    if (!copySelected(text)) throw new Error('The browser does not allow copying on this page. Select the text and copy it with the keyboard.');
  }
}

function copySelected(text: string): boolean {
  const focused = document.activeElement as HTMLElement | null;
  const field = document.createElement('textarea');
  field.value = text;
  field.readOnly = true;
  field.className = 'visually-hidden';
  // A dialog and a menu keep the focus inside.
  (focused?.closest('dialog, [role="menu"]') ?? document.body).append(field);
  try {
    field.focus({ preventScroll: true });
    field.select();
    return document.execCommand('copy');
  } catch {
    return false;
  } finally {
    field.remove();
    focused?.focus({ preventScroll: true });
  }
}
