import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { toUtf8 } from '../../util/bytes.ts'
import { Management, type ManagementEffect } from './management.ts'

/** What OpenVPN 2.6.14 said when it was started, reconnected and ended, with a line of no interest between. */
const story = `>INFO:OpenVPN Management Interface Version 5 -- type 'help' for more info\r
>HOLD:Waiting for hold release:0\r
SUCCESS: real-time state notification set to ON\r
SUCCESS: bytecount interval changed\r
SUCCESS: hold release succeeded\r
>STATE:1795397767,WAIT,,,,,,\r
>STATE:1795397767,AUTH,,,,,,\r
>STATE:1795397768,CONNECTED,SUCCESS,,192.168.7.2,41000,,\r
>BYTECOUNT:1312,1411\r
>STATE:1795398022,RECONNECTING,SIGUSR1,,,,,\r
>HOLD:Waiting for hold release:1\r
>STATE:1795398023,EXITING,SIGTERM,,,,,\r
`

const told: readonly ManagementEffect[] = [
  { kind: 'send', command: 'hold release' },
  { kind: 'state', state: 'connecting', reason: '' },
  { kind: 'state', state: 'connecting', reason: '' },
  { kind: 'state', state: 'connected', reason: '' },
  { kind: 'bytes', received: 1312, sent: 1411 },
  { kind: 'state', state: 'reconnecting', reason: 'SIGUSR1' },
  { kind: 'send', command: 'hold release' },
  { kind: 'state', state: 'exiting', reason: 'SIGTERM' },
]

test('states and counts are asked for first', () => {
  assert.deepEqual(new Management().begin(), [
    { kind: 'send', command: 'state on' },
    { kind: 'send', command: 'bytecount 1' },
  ])
})

test('a process is told to go on at every hold, and its states and counts are told on', () => {
  const management = new Management()
  assert.deepEqual(management.receive(toUtf8(story)), told)
  assert.deepEqual(management.stats(), { lines: 12, tooLong: 0, malformed: 0, refused: 0 })
})

test('however the lines are cut into pieces, the same is told', () => {
  const bytes = toUtf8(story)
  const property = fc.property(fc.array(fc.nat({ max: bytes.length }), { maxLength: 30 }), (cuts) => {
    const management = new Management()
    const effects: ManagementEffect[] = []
    let from = 0
    for (const to of [...cuts.sort((a, b) => a - b), bytes.length]) {
      effects.push(...management.receive(bytes.subarray(from, to)))
      from = to
    }
    assert.deepEqual(effects, told)
  })
  fc.assert(property, { seed: 26, numRuns: 200 })
})

test('an interface that could not be set up is no connection, and a last word is told', () => {
  const management = new Management()
  const text =
    '>STATE:1,CONNECTED,ERROR,,,,,\n>FATAL:Cannot open TUN/TAP dev\nERROR: unknown command\n>STATE:1,GET_CONFIG\n'
  assert.deepEqual(management.receive(toUtf8(text)), [
    { kind: 'state', state: 'connecting', reason: '' },
    { kind: 'fatal', reason: 'Cannot open TUN/TAP dev' },
  ])
  assert.deepEqual(management.stats(), { lines: 4, tooLong: 0, malformed: 0, refused: 1 })
})

test('a line without an end is not kept for ever, and the next one is read', () => {
  const management = new Management()
  for (let count = 0; count < 100; count++) assert.deepEqual(management.receive(new Uint8Array(1000).fill(0x61)), [])
  assert.deepEqual(management.receive(toUtf8('\n>BYTECOUNT:1,2\n')), [{ kind: 'bytes', received: 1, sent: 2 }])
  assert.equal(management.stats().tooLong, 1)
})

test('mangled lines are counted and tell nothing', () => {
  const management = new Management()
  const text = '>BYTECOUNT:1\n>BYTECOUNT:-1,2\n>BYTECOUNT:9999999999999999,1\n>STATE:x,CONNECTED,SUCCESS\n>STATE:\n'
  assert.deepEqual(management.receive(toUtf8(text)), [])
  assert.equal(management.stats().malformed, 5)
})

test('no input throws, and what is told is of the known kinds', () => {
  const mutated = fc
    .tuple(fc.nat({ max: story.length }), fc.nat({ max: 40 }), fc.uint8Array({ maxLength: 8 }))
    .map(([at, length, put]) => {
      const bytes = toUtf8(story)
      return new Uint8Array([...bytes.subarray(0, at), ...put, ...bytes.subarray(at + length)])
    })
  let bytes = 0
  const property = fc.property(
    fc.array(fc.oneof(mutated, fc.uint8Array({ maxLength: 300 })), { maxLength: 4 }),
    (all) => {
      const management = new Management()
      for (const part of all) {
        for (const effect of management.receive(part)) {
          assert.ok(['send', 'state', 'bytes', 'fatal'].includes(effect.kind))
          if (effect.kind === 'send') assert.equal(effect.command, 'hold release')
          if (effect.kind === 'bytes') {
            bytes++
            assert.ok(Number.isSafeInteger(effect.received) && Number.isSafeInteger(effect.sent))
          }
        }
      }
    },
  )
  fc.assert(property, { seed: 2611, numRuns: 1500 })
  assert.ok(bytes > 500, `${bytes}`)
})
