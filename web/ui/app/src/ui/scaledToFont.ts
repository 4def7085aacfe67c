const ROOT = parseFloat(getComputedStyle(document.documentElement).fontSize) / 16;

/** Pixels that grow with the font size that is set in the browser; unchanged at its default of 16 pixels. */
export function scaledToFont(pixels: number): number {
  return Math.round(pixels * ROOT);
}
