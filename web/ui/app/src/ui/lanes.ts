/** The colours of lanes; the chat, the outline and the map share them. */
export const LANES = 8;

export function laneClass(lane: number): string {
  return `lane-${lane % LANES}`;
}
