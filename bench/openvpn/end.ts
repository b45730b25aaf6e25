/**
 * One end of an OpenVPN tunnel as a process of its own, for bench/openvpn/main.ts and test/e2e/openvpn.test.ts: the OpenVPN guard
 * in the network namespace it is started in, with peers whose endpoints are told instead of punched. Told by one JSON
 * argument; says `ready` and answers commands of its standard input, one a line, with one line each: `stats`, `events`, `log`,
 * `use PORT` (a new path to the same address), `addresses A,B`, `key HEX` (another pre-shared key),
 * `lost` (waits for it), `stop`.
 */

import { createInterface } from 'node:readline'
import type { Endpoint } from '../../src/api/endpoint.ts'
import { hostPrefix } from '../../src/api/ip-prefix.ts'
import { SecretKey, tunnelPublicKey } from '../../src/api/keys.ts'
import type { GuardEvent, GuardPeer } from '../../src/api/roles.ts'
import { openOpenvpnGuard } from '../../src/device/guards/openvpn.ts'
import { createCertificate } from '../../src/guard/openvpn/certificate.ts'
import { certificateSeed } from '../../src/guard/openvpn/keys.ts'
import { importKeyPair } from '../../src/guard/wireguard/crypto.ts'
import { bindUdpSocket } from '../../src/net/udp-socket.ts'
import { undoLeftovers } from '../../src/net/undo-log.ts'
import { Opened } from '../../src/util/opened.ts'
import { fixedPath } from '../fixed-path.ts'

export interface OpenvpnEndPeer {
  /** 64 hex digits: the peer's own, of which its public key and its certificate are made here. */
  readonly privateKey: string
  readonly presharedKey: string
  /** Whose certificate is expected, when it is not the peer's. */
  readonly certificateOf?: string
  readonly endpoint: Endpoint
  /** In the tunnel. */
  readonly addresses: readonly string[]
}

export interface OpenvpnEndOptions {
  readonly name: string
  readonly port: number
  readonly privateKey: string
  readonly addresses: readonly string[]
  readonly mtu: number
  /** For the undo log and the sockets. */
  readonly folder: string
  readonly peers: readonly OpenvpnEndPeer[]
}

const options: OpenvpnEndOptions = JSON.parse(process.argv[2] ?? '{}')
const say = (value: unknown): void => console.log(JSON.stringify(value))
const startedAt = performance.now()

function hexBytes(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, 'hex'))
}

const lines: string[] = []
const log = (message: string, fields?: object): void => {
  lines.push(`${message} ${JSON.stringify(fields ?? {})}`)
  console.error(options.name, lines.at(-1))
}
const undoLogPath = `${options.folder}/undo.jsonl`
await undoLeftovers(undoLogPath)
const opened = new Opened()
const device = await openOpenvpnGuard({
  socket: await bindUdpSocket(options.port),
  addresses: options.addresses,
  privateKey: new SecretKey(hexBytes(options.privateKey)),
  lastTimestamp: undefined,
  interfaceName: options.name,
  mtu: options.mtu,
  undoLogPath,
  logger: { debug: log, info: log, warn: log, error: log },
  opened,
  ownInterface: () => {},
})
const events: { readonly kind: GuardEvent['kind'] | 'used'; readonly at: number }[] = []
const record = (kind: GuardEvent['kind'] | 'used'): void => {
  events.push({ kind, at: performance.now() - startedAt })
}
const peers: { readonly peer: GuardPeer; readonly endpoint: Endpoint }[] = []
for (const { privateKey, presharedKey, certificateOf, endpoint, addresses } of options.peers) {
  const secret = new SecretKey(hexBytes(privateKey))
  const publicKey = tunnelPublicKey(importKeyPair(secret.reveal()).publicKey)
  if (publicKey === undefined) throw new Error('a key is 32 bytes')
  const underlay = await device.underlayFor(publicKey)
  underlay.route('stun', (bytes, from) => {
    // Who asks with a binding request gets it back.
    if (bytes[0] === 0) underlay.send(Uint8Array.from(bytes).fill(1, 0, 1), from)
  })
  const allowedIps = addresses.map(hostPrefix)
  const peer = await device.guard.addPeer({
    publicKey,
    presharedKey: new SecretKey(hexBytes(presharedKey)),
    allowedIps,
  })
  await device.interface.setRoutes(privateKey, { interfaceName: peer.interfaceName, cidrs: allowedIps })
  peer.subscribe(({ kind }) => record(kind))
  const expected = certificateOf === undefined ? secret : new SecretKey(hexBytes(certificateOf))
  peer.meet(createCertificate(certificateSeed(expected).reveal()).fingerprint)
  record('used')
  peer.use(fixedPath(endpoint))
  peers.push({ peer, endpoint })
}
say({
  ready: true,
  interfaces: peers.map(({ peer }) => peer.interfaceName),
  version: device.guard.status().implementation,
})

for await (const line of createInterface({ input: process.stdin })) {
  const [command, value = ''] = line.split(' ')
  if (command === 'stats') say(peers.map(({ peer }) => peer.stats()))
  else if (command === 'events') say(events)
  else if (command === 'use') {
    for (const { peer, endpoint } of peers) peer.use(fixedPath({ ...endpoint, port: Number(value) }))
    say({ done: true })
  } else if (command === 'key') {
    for (const { peer } of peers) peer.setPresharedKey(new SecretKey(hexBytes(value)))
    say({ done: true })
  } else if (command === 'addresses') {
    await device.interface.setAddresses(value.split(','))
    say({ done: true })
  } else if (command === 'log') say(lines)
  else if (command === 'lost') say({ lost: await device.lost })
  else if (command === 'stop') break
}
for (const { peer } of peers) await peer[Symbol.asyncDispose]()
await device[Symbol.asyncDispose]()
say({ stopped: true })
// A pipe that nobody writes to would keep us.
process.stdin.destroy()
