import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createPeerRow, readActivity, received, sent } from './shared-activity.ts'
import { TrafficBalance } from './traffic-balance.ts'

/** A peer's row, and what it carries on each side at a moment. */
class Peer {
  readonly #balance: TrafficBalance
  readonly #row: Float64Array = createPeerRow()

  constructor(balance: TrafficBalance) {
    this.#balance = balance
  }

  carry(now: number, { out = 0, back = 0 }: { readonly out?: number; readonly back?: number }): void {
    if (out > 0) this.#count(sent, now, out)
    if (back > 0) this.#count(received, now, back)
    this.#balance.add(this.#row, readActivity(this.#row, { endpoint: undefined, endpointRevision: 0 }))
  }

  #count(half: typeof sent | typeof received, now: number, bytes: number): void {
    this.#row[half.lastDataAt] = now
    this.#row[half.bytes] = (this.#row[half.bytes] ?? 0) + bytes
  }
}

function begun(): TrafficBalance {
  const balance = new TrafficBalance()
  balance.take(1000)
  return balance
}

test('a peer that sends and receives is answered, however little comes back', () => {
  const balance = begun()
  const peer = new Peer(balance)
  peer.carry(1050, { out: 1_000_000, back: 60 })
  assert.equal(balance.take(1100), true)
})

test('a flood is not answered, neither where it is sent nor where it arrives', () => {
  for (const flood of [{ out: 1_000_000 }, { back: 1_000_000 }]) {
    const balance = begun()
    const peer = new Peer(balance)
    peer.carry(1050, flood)
    assert.equal(balance.take(1100), false)
  }
})

test('an answer counts until the next look', () => {
  const balance = begun()
  const peer = new Peer(balance)
  peer.carry(1050, { out: 1000, back: 60 })
  assert.equal(balance.take(1100), true)
  peer.carry(1150, { out: 1000 })
  assert.equal(balance.take(1200), false)
})

test('the peers that carried more since the last look decide', () => {
  const balance = begun()
  const [answered, flooded] = [new Peer(balance), new Peer(balance)]
  for (const [now, stream, flood, expected] of [
    [1050, 5000, 1000, true],
    [1150, 1000, 1100, false],
    [1250, 1100, 1000, true],
  ] as const) {
    answered.carry(now, { out: stream, back: 60 })
    flooded.carry(now, { out: flood })
    assert.equal(balance.take(now + 50), expected)
  }
})

test('before the first look, and without traffic, nothing is answered', () => {
  const balance = new TrafficBalance()
  const peer = new Peer(balance)
  peer.carry(50, { out: 1000, back: 1000 })
  assert.equal(balance.take(100), false)
  assert.equal(balance.take(200), false)
})
