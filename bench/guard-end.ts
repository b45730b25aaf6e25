/**
 * One end of a tunnel as a process of its own, for bench/guard and the end-to-end tests: an embedded guard on a TUN and
 * a socket of the network namespace it is started in. Told by one JSON argument; says `ready` and answers commands of
 * its standard input, one word a line, with one line each: `stats`, `status`, `fail-transmit`, `fail-receive`, `stop`.
 */

import { createInterface } from 'node:readline'
import type { Endpoint } from '../src/api/endpoint.ts'
import { SecretKey, tunnelPublicKey } from '../src/api/keys.ts'
import type { CryptoBackend } from '../src/guard/dataplane/aead/aead.ts'
import { openDataPlane } from '../src/guard/dataplane/choose-shell.ts'
import { PlainDataPlane } from '../src/guard/dataplane/plain.ts'
import { WorkerDataPlane } from '../src/guard/dataplane/worker-plane-shell.ts'
import { EmbeddedGuard } from '../src/guard/embedded.ts'
import { bindLendableSocket } from '../src/net/lendable-socket.ts'
import { runCommand } from '../src/net/run-command.ts'
import { openOffloadTun } from '../src/net/tun/offload.ts'
import { Underlay } from '../src/net/underlay.ts'
import { systemClock } from '../src/util/clock.ts'
import { systemRandom } from '../src/util/random.ts'
import { fixedPath } from './fixed-path.ts'

export interface GuardEndPeer {
  /** 64 hex digits. */
  readonly publicKey: string
  /** Absent: it comes to us. */
  readonly endpoint?: Endpoint
  readonly allowedIps: readonly string[]
}

export interface GuardEndOptions {
  readonly name: string
  readonly port: number
  readonly privateKey: string
  /** With prefix length. */
  readonly addresses: readonly string[]
  readonly mtu: number
  readonly plane: 'workers' | 'plain'
  readonly backends?: readonly CryptoBackend[]
  readonly peers: readonly GuardEndPeer[]
}

const options: GuardEndOptions = JSON.parse(process.argv[2] ?? '{}')

function hexBytes(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, 'hex'))
}

const say = (value: unknown): void => console.log(JSON.stringify(value))

const tun = await openOffloadTun({ name: options.name, mtu: options.mtu, queueLength: 1000 })
const socket = await bindLendableSocket(options.port)
const underlay = new Underlay(socket)
for (const address of options.addresses) await runCommand('ip', ['address', 'add', address, 'dev', options.name])
await runCommand('ip', ['link', 'set', 'dev', options.name, 'up'])

const logger = {
  debug: () => {},
  info: (message: string, fields?: object) => console.error(options.name, message, JSON.stringify(fields ?? {})),
  warn: (message: string, fields?: object) => console.error(options.name, message, JSON.stringify(fields ?? {})),
  error: (message: string, fields?: object) => console.error(options.name, message, JSON.stringify(fields ?? {})),
}
const { backends } = options
const parts = { clock: systemClock, underlay, socket, tun, logger, ...(backends === undefined ? {} : { backends }) }
const dataPlane = options.plane === 'plain' ? new PlainDataPlane(parts) : await openDataPlane(parts)
const guard = new EmbeddedGuard({
  underlay,
  tun,
  clock: systemClock,
  random: systemRandom,
  privateKey: new SecretKey(hexBytes(options.privateKey)),
  logger,
  dataPlane,
})
const peers = []
for (const { publicKey, endpoint, allowedIps } of options.peers) {
  const key = tunnelPublicKey(hexBytes(publicKey))
  if (key === undefined) throw new Error('a public key is 32 bytes')
  const peer = await guard.addPeer({ publicKey: key, presharedKey: undefined, allowedIps })
  const remote = endpoint ?? { address: '192.0.2.1', port: 9 }
  peer.use(fixedPath(remote), { initiate: endpoint !== undefined })
  peers.push(peer)
}
say({ ready: true })

for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'stats') say({ guard: guard.stats(), peers: peers.map((peer) => peer.stats()), cpu: process.cpuUsage() })
  else if (line === 'status') say(guard.status())
  else if (line === 'fail-transmit' || line === 'fail-receive') {
    if (dataPlane instanceof WorkerDataPlane) dataPlane.breakWorker(line === 'fail-transmit' ? 'transmit' : 'receive')
    say({ done: true })
  } else if (line === 'give-transmit' || line === 'give-receive') {
    if (dataPlane instanceof WorkerDataPlane) dataPlane.giveTun(line === 'give-transmit' ? 'transmit' : 'receive')
    say({ done: true })
  } else if (line === 'exit') process.exit(0)
  else if (line === 'stop') break
}
await guard[Symbol.asyncDispose]()
await underlay[Symbol.asyncDispose]()
say({ stopped: true })
// A pipe that nobody writes to would keep us.
process.stdin.destroy()
