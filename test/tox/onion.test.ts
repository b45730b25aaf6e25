/** The onion machines in a small internet in virtual time. One way takes 25..35 ms. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { toxCryptoReady } from '../../src/signal/tox/crypto.ts'
import { toUtf8 } from '../../src/util/bytes.ts'
import { type Host, Network, publicNodes } from './network.ts'

await toxCryptoReady

const has = (host: Host, kind: Host['events'][number]['kind']): boolean =>
  host.events.some((event) => event.kind === kind)

interface Pair {
  readonly network: Network
  readonly servers: readonly Host[]
  readonly a: Host
  readonly b: Host
  /** When the clients started. */
  readonly start: number
}

/** Two clients behind NATs that know each other, started at once on a net of public nodes that has settled. */
function pair(options: { readonly seed: number; readonly loss?: number; readonly servers?: number }): Pair {
  const network = new Network({ seed: options.seed, delay: 25, spread: 10, loss: options.loss ?? 0 })
  const servers = publicNodes(network, options.servers ?? 3)
  network.run(5000)
  const a = network.add({ client: true, nat: true })
  const b = network.add({ client: true, nat: true })
  const contacts = servers.map((server) => server.contact)
  for (const host of [a, b]) host.dht.bootstrap(contacts, network.now)
  return { network, servers, a, b, start: network.now }
}

test('a friend request arrives once, is answered, and both find the address of the other', () => {
  const { network, a, b, start } = pair({ seed: 1 })
  a.onion?.requestFriend(b.keyPair.publicKey, { nospam: b.nospam, message: toUtf8('hello'), now: start })
  assert.ok(network.run(start + 1500, () => has(b, 'friend-request')))
  b.onion?.addFriend(a.keyPair.publicKey, network.now)
  assert.ok(network.run(start + 2500, () => has(a, 'found') && has(b, 'found')))
  network.run(start + 20_000)
  const requests = b.events.filter((event) => event.kind === 'friend-request')
  assert.equal(requests.length, 1)
  assert.deepEqual(requests[0]?.from, a.keyPair.publicKey)
  assert.deepEqual(requests[0]?.message, toUtf8('hello'))
  const found = a.events.find((event) => event.kind === 'found')
  assert.deepEqual(found?.endpoint, b.endpoint)
  assert.deepEqual(found?.dhtKey, b.dht.publicKey)
})
