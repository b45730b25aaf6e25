/** The shared socket's demultiplexer (net/underlay.ts): every datagram reaches exactly the receiver of its kind, or none. */

import assert from 'node:assert/strict'
import type { Generator } from '../../lab/model/generator.ts'
import type { Endpoint } from '../../src/api/endpoint.ts'
import type { DatagramSocket } from '../../src/api/network.ts'
import { type DatagramKind, type DatagramReceiver, Underlay } from '../../src/net/underlay.ts'
import { toHex, toUtf8 } from '../../src/util/bytes.ts'
import { type FuzzResult, type FuzzTarget, mutate, randomBytes, Tally } from './mutate.ts'

const from: Endpoint = { address: '192.0.2.7', port: 4000 }
const stunCookie = 0x42a41221

class FuzzedSocket implements DatagramSocket {
  readonly port = 5000
  deliver: DatagramReceiver = () => {}

  send(): void {
    assert.fail('nothing is sent')
  }

  receive(receiver: DatagramReceiver): void {
    this.deliver = receiver
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

/** The rule once more, by numbers instead of bytes. */
function kindOf(bytes: Uint8Array): DatagramKind | 'unknown' {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes.length >= 20 && view.getUint8(0) < 4 && view.getUint32(4, true) === stunCookie) return 'stun'
  if (bytes.length >= 4 && [1, 2, 3, 4].includes(view.getUint32(0, true))) return 'wireguard'
  return bytes.length > 0 && view.getUint8(0) === 'd'.charCodeAt(0) ? 'bencode' : 'unknown'
}

function samplesOf(generator: Generator): readonly Uint8Array[] {
  const stun = randomBytes(generator, 28)
  stun.set([0, 1, 0, 8, 0x21, 0x12, 0xa4, 0x42])
  const messages = [148, 92, 64, 80].map((size, at) => {
    const bytes = randomBytes(generator, size)
    bytes.set([at + 1, 0, 0, 0])
    return bytes
  })
  return [stun, ...messages, toUtf8('d1:rd2:id20:aaaaaaaaaaaaaaaaaaaae1:t1:a1:y1:re')]
}

function run(generator: Generator, count: number): FuzzResult {
  const socket = new FuzzedSocket()
  const underlay = new Underlay(socket)
  const got: DatagramKind[] = []
  for (const kind of ['stun', 'wireguard', 'bencode'] as const) underlay.route(kind, () => void got.push(kind))
  const samples = samplesOf(generator)
  const tally = new Tally()
  for (let done = 0; done < count; done++) {
    const bytes = mutate({ generator, samples, numbers: [stunCookie, 0x64], fields: [0, 4] })
    const kind = kindOf(bytes)
    socket.deliver(bytes, from)
    assert.deepEqual(got.splice(0), kind === 'unknown' ? [] : [kind], toHex(bytes))
    tally.count(kind)
  }
  const { received, unknown, unrouted } = underlay.stats()
  assert.equal(received.stun + received.wireguard + received.bencode + unknown, count)
  assert.equal(unrouted, 0)
  return tally.result(count)
}

export const underlayTargets: readonly FuzzTarget[] = [{ name: 'demultiplexer of the shared socket', run }]
