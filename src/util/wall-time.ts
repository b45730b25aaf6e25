/** Wall time and durations as people and logs read them. */

/** `2026-11-22T10:30:00.123Z` */
export function formatUtc(wallTime: number): string {
  return new Date(wallTime).toISOString()
}

/** `10:30:00` in the machine's time zone. */
export function formatClock(wallTime: number): string {
  return new Date(wallTime).toTimeString().slice(0, 8)
}

/** `850 ms`, `45 s`, `12 min`, `3 h 20 min`, `2 d 4 h`: two units at most. */
export function formatDuration(duration: number): string {
  const seconds = Math.round(duration / 1000)
  if (duration < 1000) return `${Math.max(0, Math.round(duration))} ms`
  if (seconds < 60) return `${seconds} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes} min`
  const hours = Math.floor(minutes / 60)
  if (hours < 24) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`
  return hours % 24 === 0 ? `${Math.floor(hours / 24)} d` : `${Math.floor(hours / 24)} d ${hours % 24} h`
}

const units: Readonly<Record<string, number>> = { s: 1000, m: 60_000, min: 60_000, h: 3_600_000, d: 86_400_000 }

/** The ms of `90s`, `10m`, `2h`, `1d` or `1h30m`; `undefined` for anything else, and for nothing. */
export function parseDuration(text: string): number | undefined {
  if (!/^(\d{1,6}(s|min|m|h|d))+$/.test(text)) return undefined
  let duration = 0
  for (const [, count, unit] of text.matchAll(/(\d+)(s|min|m|h|d)/g))
    duration += Number(count) * (units[unit ?? ''] ?? 0)
  return duration > 0 ? duration : undefined
}
