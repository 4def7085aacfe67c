/** The group of a list in which a time belongs. */
export function dayGroup(time: string, now = new Date()): string {
  // By the calendar: a day on which the clocks change does not have 24 hours.
  const midnight = (daysAgo: number) => new Date(now.getFullYear(), now.getMonth(), now.getDate() - daysAgo).getTime();
  const then = new Date(time).getTime();
  if (then >= midnight(0)) return 'Today';
  if (then >= midnight(1)) return 'Yesterday';
  if (then >= midnight(6)) return 'This week';
  if (then >= midnight(29)) return 'This month';
  return new Date(time).toLocaleDateString(undefined, { month: 'long', year: 'numeric' });
}

export function formatDuration(from: string | null, to: string | null): string {
  if (!from || !to) return '';
  const seconds = Math.max(0, (Date.parse(to) - Date.parse(from)) / 1000);
  if (seconds < 0.95) return `${Math.max(10, Math.round(seconds * 100) * 10)} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

export function formatTime(time: string | null): string {
  return time ? new Date(time).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' }) : '';
}
