import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatDuration, formatUtc, parseDuration } from './wall-time.ts'

test('durations are read as people write them', () => {
  const good = {
    '90s': 90_000,
    '10m': 600_000,
    '10min': 600_000,
    '2h': 7_200_000,
    '1d': 86_400_000,
    '1h30m': 5_400_000,
  }
  for (const [text, expected] of Object.entries(good)) assert.equal(parseDuration(text), expected, text)
  for (const text of ['', '10', 'm', '-1m', '1.5h', '0s', '10 m', '1h30', '9999999d'])
    assert.equal(parseDuration(text), undefined, text)
})

test('durations are written in two units at most', () => {
  const cases: readonly (readonly [number, string])[] = [
    [0, '0 ms'],
    [850.4, '850 ms'],
    [59_400, '59 s'],
    [60_000, '1 min'],
    [3_600_000, '1 h'],
    [12_000_000, '3 h 20 min'],
    [86_400_000, '1 d'],
    [187_200_000, '2 d 4 h'],
  ]
  for (const [duration, expected] of cases) assert.equal(formatDuration(duration), expected)
  assert.equal(formatUtc(0), '1970-01-01T00:00:00.000Z')
})
