const ROOT = parseFloat(getComputedStyle(document.documentElement).fontSize) / 16;

/** So many pixels where letters have their usual size; more where a person has set larger ones. */
export function scaledToFont(pixels: number): number {
  return Math.round(pixels * ROOT);
}
