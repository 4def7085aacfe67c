/** The colours of lanes, which the outline and the map share. */
export const LANE_COUNT = 8;

export function laneClass(lane: number): string {
  return `lane-${lane % LANE_COUNT}`;
}
