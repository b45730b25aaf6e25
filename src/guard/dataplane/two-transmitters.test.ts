/** Both workers send with one session, by turns: no counter twice, none out of order, nothing sent twice. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { SecretKey } from '../../api/keys.ts'
import { parsePrefix } from '../wireguard/allowed-ips.ts'
import type { DataPlaneCommand } from './data-plane.ts'
import { createPeerRow, readActivity } from './shared-activity.ts'
import { alone, asRead, FakeSystem } from './testing/fake-system.ts'
import { encodeInner } from './testing/inner-packets.ts'
import { Transmitter } from './transmit.ts'
import { decodeCounter, openTransport } from './transport.ts'
import { commandFor, sharedBy } from './worker-commands.ts'

const peer = 1
const key = new Uint8Array(32).fill(7)
const endpoint = { address: '192.168.0.2', port: 51_820 }
const roles = ['transmit', 'receive'] as const
const packetSize = encodeInner({ family: 4, protocol: 'tcp', payload: new Uint8Array(100) }).length

/** What the plane's main thread and two workers do, without threads: every command goes to both. */
class Pair {
  readonly #row: Float64Array = createPeerRow()
  readonly #ends: Readonly<Record<(typeof roles)[number], { readonly system: FakeSystem; readonly half: Transmitter }>>
  /** As they left, from either. */
  readonly sent: Uint8Array[] = []
  #packets = 0

  constructor() {
    const { turnstile } = alone()
    const end = (leads: boolean): { readonly system: FakeSystem; readonly half: Transmitter } => {
      const system = new FakeSystem()
      return { system, half: new Transmitter(system.context(), { socket: 4, turnstile, leads }) }
    }
    this.#ends = { transmit: end(false), receive: end(true) }
    this.tell({ kind: 'add-peer', peer, allowedIps: [parsePrefix('10.64.1.1/32') ?? assert.fail()] })
    this.tell({ kind: 'set-endpoint', peer, endpoint, revision: 1 })
  }

  tell(command: DataPlaneCommand): void {
    const shared = sharedBy(command, this.#row)
    for (const role of roles) {
      const own = commandFor(role, command, shared)
      if (own !== undefined) this.#ends[role].half.apply(own)
      this.#take(role)
    }
  }

  connect(): void {
    const keys = { sendKey: new SecretKey(Uint8Array.from(key)), receiveKey: new SecretKey(new Uint8Array(32)) }
    const limits = { created: 1000, rekeyAfterMessages: 1000, rejectAfterMessages: 2000 }
    this.tell({ kind: 'install-keypair', peer, keypair: { localIndex: 10, remoteIndex: 20, ...keys, ...limits } })
  }

  use(confirm: boolean): void {
    this.tell({ kind: 'use-keypair', peer, localIndex: 10, confirm })
  }

  /** One of them reads `count` packets. */
  read(role: (typeof roles)[number], count: number): void {
    const { system, half } = this.#ends[role]
    for (; count > 0; count--) {
      this.#packets++
      const payload = new Uint8Array(100)
      system.toRead.push(asRead(encodeInner({ family: 4, protocol: 'tcp', payload, sequence: this.#packets * 100 })))
    }
    assert.equal(half.turn(), 'idle')
    this.#take(role)
  }

  get activity(): ReturnType<typeof readActivity> {
    return readActivity(this.#row, { endpoint: undefined, endpointRevision: 0 })
  }

  #take(role: (typeof roles)[number]): void {
    for (const { datagrams } of this.#ends[role].system.sent.splice(0)) this.sent.push(...datagrams)
  }
}

/** The sequence numbers of what was sent, in its order; keepalives are left out. */
function opened(sent: readonly Uint8Array[]): readonly number[] {
  return sent.flatMap((datagram, at) => {
    assert.equal(decodeCounter(datagram), at)
    const packet = openTransport(datagram, key) ?? assert.fail('it is not sealed with the key')
    return packet.length === 0 ? [] : [new DataView(packet.buffer, packet.byteOffset).getUint32(24) / 100]
  })
}

test('whichever worker reads, counters follow each other and packets keep their order', () => {
  const step = fc.constantFrom('transmit', 'receive', 'keepalive', 'endpoint')
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const pair = new Pair()
      pair.connect()
      pair.use(false)
      let packets = 0
      let keepalives = 0
      for (const [at, what] of steps.entries()) {
        if (what === 'keepalive') {
          pair.tell({ kind: 'send-keepalive', peer })
          keepalives++
        } else if (what === 'endpoint') pair.tell({ kind: 'set-endpoint', peer, endpoint, revision: at })
        else {
          pair.read(what, (at % 3) + 1)
          packets += (at % 3) + 1
        }
      }
      const expected = Array.from({ length: packets }, (_, at) => at + 1)
      assert.deepEqual(opened(pair.sent), expected)
      assert.equal(pair.sent.length, packets + keepalives)
      assert.equal(pair.activity.sentBytes, packets * packetSize)
    }),
    { seed: 20_261_123, numRuns: 100 },
  )
})

test('a confirmation and a keepalive are sent once, and what waits at either worker goes when there is a session', () => {
  const pair = new Pair()
  pair.read('transmit', 2)
  pair.read('receive', 1)
  pair.connect()
  assert.equal(pair.sent.length, 0)
  assert.equal(pair.activity.waitingSince, 1000)
  pair.use(false)
  assert.deepEqual([...opened(pair.sent)].sort(), [1, 2, 3])
  assert.equal(pair.activity.waitingSince, undefined)

  const empty = new Pair()
  empty.connect()
  empty.use(true)
  assert.equal(empty.sent.length, 1)
  empty.tell({ kind: 'send-keepalive', peer })
  assert.equal(empty.sent.length, 2)
  assert.deepEqual(opened(empty.sent), [])
})

test('the last counters of a session are used by one of them only', () => {
  const pair = new Pair()
  pair.connect()
  pair.use(false)
  for (let at = 0; at < 1100; at++) pair.read(roles[at % 2] ?? 'receive', 2)
  assert.equal(pair.sent.length, 2000)
  assert.equal(opened(pair.sent).length, 2000)
  assert.equal(pair.activity.usedUp, 10)
})
