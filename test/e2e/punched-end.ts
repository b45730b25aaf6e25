/**
 * One end of a tunnel over a punched path as a process of its own, for path-mtu.test.ts: puncher, embedded guard and
 * interface on one socket, put together as a device does, without a signal network. Told by one JSON argument; lines of
 * its standard output and input are the punch messages between two ends, and what it tells of itself.
 */

import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { SecretKey, tunnelPublicKey } from '../../src/api/keys.ts'
import type { PunchMessage } from '../../src/api/roles.ts'
import { MachineInterface } from '../../src/device/machine-interface.ts'
import { routeMtu, tunnelOverhead } from '../../src/device/route-mtu.ts'
import { openDataPlane } from '../../src/guard/dataplane/choose-shell.ts'
import { EmbeddedGuard } from '../../src/guard/embedded.ts'
import { systemHost } from '../../src/net/host-network.ts'
import { bindLendableSocket } from '../../src/net/lendable-socket.ts'
import { openOffloadTun } from '../../src/net/tun/offload.ts'
import { Underlay } from '../../src/net/underlay.ts'
import { UndoLog } from '../../src/net/undo-log.ts'
import { IcePuncher } from '../../src/punch/puncher.ts'
import { systemClock as clock } from '../../src/util/clock.ts'
import { Listeners } from '../../src/util/listeners.ts'
import { silentLogger as logger } from '../../src/util/logger.ts'
import { systemRandom as random } from '../../src/util/random.ts'

export interface PunchedEndOptions {
  readonly name: string
  readonly folder: string
  readonly mtu: number
  /** 64 hex digits. */
  readonly privateKey: string
  readonly peerKey: string
  readonly addresses: readonly string[]
  readonly peerAddresses: readonly string[]
  readonly controlling: boolean
}

export type PunchedEndLine =
  | { readonly kind: 'punch'; readonly message: PunchMessage }
  /** `at`: monotonic ms of this machine. */
  | { readonly kind: 'connected'; readonly at: number }
  | { readonly kind: 'mtu'; readonly at: number; readonly mtu: number | undefined }
  | { readonly kind: 'lost'; readonly reason: string }

const options: PunchedEndOptions = JSON.parse(process.argv[2] ?? '{}')
const { name, mtu } = options
const bytesOf = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, 'hex'))
const say = (line: PunchedEndLine): void => console.log(JSON.stringify(line))
/** The same for every process of a machine. */
const machineTime = (): number => Number(process.hrtime.bigint()) / 1e6

const socket = await bindLendableSocket(0)
const underlay = new Underlay(socket)
const tun = await openOffloadTun({ name, mtu, queueLength: 1000 })
const log = await UndoLog.open(join(options.folder, `${name}.undo`))
const machineInterface = await MachineInterface.adopt({ name, log })
await machineInterface.setAddresses(options.addresses)
const dataPlane = await openDataPlane({ clock, underlay, socket, tun, logger })
const privateKey = new SecretKey(bytesOf(options.privateKey))
const guard = new EmbeddedGuard({ underlay, tun, clock, random, privateKey, logger, dataPlane })
const publicKey = tunnelPublicKey(bytesOf(options.peerKey))
if (publicKey === undefined) throw new Error('a public key is 32 bytes')
const cidrs = options.peerAddresses.map((address) => `${address}/${address.includes(':') ? 128 : 32}`)
const peer = await guard.addPeer({ publicKey, presharedKey: undefined, allowedIps: cidrs })

const heard: Listeners<PunchMessage> = new Listeners()
const input = createInterface({ input: process.stdin })
input.on('line', (line) => heard.emit(JSON.parse(line)))
input.on('close', () => process.exit(0))
const host = systemHost({ ignoreInterfaces: [name] })
const puncher = new IcePuncher({ underlay, host, stunServers: [], clock, random, largestPacket: mtu + tunnelOverhead })
const path = await puncher.open({
  exchange: { send: (message) => say({ kind: 'punch', message }), subscribe: (listener) => heard.add(listener) },
  controlling: options.controlling,
  signal: AbortSignal.timeout(10_000),
})
say({ kind: 'connected', at: machineTime() })
const follow = async (): Promise<void> => {
  const { mtu: pathMtu } = path.status()
  const inner = routeMtu({ pathMtu, interfaceMtu: mtu })
  await machineInterface.setRoutes('peer', { interfaceName: name, cidrs, mtu: inner })
}
let told: number | undefined
const tell = (): void => {
  const now = path.status().mtu
  if (now === told) return
  told = now
  say({ kind: 'mtu', at: machineTime(), mtu: now })
  void follow()
}
path.subscribe(tell)
tell()
await follow()
peer.subscribe((event) => {
  if (event.kind === 'unanswered') path.check()
})
void path.lost.then((reason) => say({ kind: 'lost', reason }))
peer.use(path, { initiate: options.controlling })
