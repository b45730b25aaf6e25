/**
 * The OpenVPN guard on this machine: for each peer a TUN that outlives the processes on it and is deleted at the end (or, after
 * a crash, at the next start), and a UDP port that is ours until a process needs it.
 */

import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { errorMessage, PunchGuardError } from '../../api/errors.ts'
import { type TunnelPublicKey, tunnelPublicKey } from '../../api/keys.ts'
import type { DatagramSocket } from '../../api/network.ts'
import type { OpenvpnConfig } from '../../guard/openvpn/config.ts'
import { OpenvpnGuard, openvpnVersion } from '../../guard/openvpn/guard.ts'
import type { PeerPlace } from '../../guard/openvpn/peer.ts'
import { openvpnProcesses } from '../../guard/openvpn/process-shell.ts'
import { importKeyPair } from '../../guard/wireguard/crypto.ts'
import { HandoverSocket } from '../../net/handover-socket.ts'
import { NetworkInterface } from '../../net/interface.ts'
import { findLink } from '../../net/ip-command.ts'
import { runCommand } from '../../net/run-command.ts'
import { openSharedPort } from '../../net/shared-port.ts'
import { bindUdpSocket } from '../../net/udp-socket.ts'
import { Underlay } from '../../net/underlay.ts'
import { UndoLog } from '../../net/undo-log.ts'
import { toHex } from '../../util/bytes.ts'
import { systemClock } from '../../util/clock.ts'
import type { Logger } from '../../util/logger.ts'
import type { Opened } from '../../util/opened.ts'
import { MachineInterface } from '../machine-interface.ts'
import type { MachineOptions, OpenGuard, OpenGuardOptions } from '../surroundings.ts'

export interface OpenvpnGuardOptions extends OpenGuardOptions, MachineOptions {
  readonly opened: Opened
  /** Told of an interface of ours before it is there. */
  readonly ownInterface: (name: string) => void
}

/** Packets that wait in the interface while the process is busy. */
const queueLength = 1000
const longestInterfaceName = 15
/** Of a unix socket's path, less the longest name that we append; the system's limit is 107. */
const longestFolder = 80
/** Ports tried above the first peer's before any free one is taken: a peer that knows it finds us again after a restart. */
const neighbours = 32

/** @throws PunchGuardError GUARD_UNAVAILABLE, PERMISSION_DENIED, ADDRESS_IN_USE */
export async function openOpenvpnGuard(options: OpenvpnGuardOptions): Promise<OpenGuard> {
  const { opened, interfaceName, mtu, undoLogPath, addresses, privateKey, logger } = options
  const ports = opened.add(new PeerPorts(options.socket))
  const version = await openvpnVersion(runCommand)
  const folder = await openRunFolder(dirname(undoLogPath))
  opened.add({ [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) })
  const log = opened.add(await UndoLog.open(undoLogPath))
  const main = await makeInterface({ ...options, name: interfaceName, log })
  const machineInterface = opened.add(MachineInterface.of(main, { log }))
  await machineInterface.setAddresses(addresses)
  const interfaces = new PeerInterfaces({ ...options, machineInterface, log })
  const publicKey = tunnelPublicKey(importKeyPair(privateKey.reveal()).publicKey)
  if (publicKey === undefined) throw new Error('Our own key has no public half')
  const guard = opened.add(
    new OpenvpnGuard({
      interfaceName,
      mtu,
      privateKey,
      publicKey,
      version,
      runAs: await unprivilegedUser(),
      placeFor: async (peer): Promise<PeerPlace> => {
        const { socket: port } = await ports.of(peer)
        const place = await interfaces.take()
        const prepare = async (): Promise<boolean> => {
          if ((await findLink(place.interfaceName)) === undefined) return false
          await checkSources(place.interfaceName, logger)
          return true
        }
        return { port, prepare, ...place }
      },
      start: openvpnProcesses({ folder, clock: systemClock, logger }),
      clock: systemClock,
      logger,
    }),
  )
  return {
    guard,
    underlayFor: async (peer) => (await ports.of(peer)).underlay,
    interface: machineInterface,
    lost: guard.lost,
    lastTimestamp: () => undefined,
    [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
  }
}

/** Empty, and for us alone. What a process of ours that crashed left there is gone. */
async function openRunFolder(stateFolder: string): Promise<string> {
  const folder = join(stateFolder, 'openvpn')
  if (Buffer.byteLength(folder) > longestFolder) return await mkdtemp(join(tmpdir(), 'punchguard-openvpn-'))
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder, { recursive: true, mode: 0o700 })
  return folder
}

function makeInterface(options: {
  readonly name: string
  readonly mtu: number
  readonly log: UndoLog
  readonly ownInterface: (name: string) => void
}): Promise<NetworkInterface> {
  options.ownInterface(options.name)
  return NetworkInterface.createTun({ ...options, queueLength })
}

/**
 * OpenVPN lets a peer say that a packet comes from any address. The system believes it only those that are routed to it (RFC
 * 3704 §2.2); for IPv4, IPv6 has no such switch. Not once when the interface is made: a distribution may set its own rule then.
 */
async function checkSources(name: string, logger: Logger): Promise<void> {
  const folder = '/proc/sys/net/ipv4/conf'
  try {
    await writeFile(`${folder}/${name}/rp_filter`, '1')
    // The larger number of the two counts, and 2 asks for less than 1.
    if (Number(await readFile(`${folder}/all/rp_filter`, 'utf8')) < 2) return
    logger.warn('the source of packets from a peer is not checked', { interface: name, reason: 'all/rp_filter is 2' })
  } catch (error) {
    logger.warn('the source of packets from a peer is not checked', { interface: name, reason: errorMessage(error) })
  }
}

/** The guard's interface, and more with names made from its own when there are several peers. */
class PeerInterfaces {
  readonly #options: Parameters<typeof makeInterface>[0] & {
    readonly interfaceName: string
    readonly machineInterface: MachineInterface
  }
  readonly #taken: Set<string> = new Set()

  constructor(options: Omit<OpenvpnGuardOptions, 'name'> & { machineInterface: MachineInterface; log: UndoLog }) {
    this.#options = { ...options, name: options.interfaceName }
  }

  async take(): Promise<Pick<PeerPlace, 'interfaceName' | typeof Symbol.asyncDispose>> {
    const { interfaceName: first, machineInterface } = this.#options
    const name = this.#freeName(first)
    this.#taken.add(name)
    if (name === first) return { interfaceName: name, [Symbol.asyncDispose]: async () => void this.#taken.delete(name) }
    try {
      const added = await machineInterface.addInterface(await makeInterface({ ...this.#options, name }))
      return {
        interfaceName: name,
        [Symbol.asyncDispose]: async () => {
          await added[Symbol.asyncDispose]()
          this.#taken.delete(name)
        },
      }
    } catch (error) {
      this.#taken.delete(name)
      throw error
    }
  }

  #freeName(first: string): string {
    let name = first
    for (let number = 2; this.#taken.has(name); number++) {
      const suffix = `-${number}`
      name = first.slice(0, longestInterfaceName - suffix.length) + suffix
    }
    return name
  }
}

interface PeerSocket {
  readonly socket: HandoverSocket
  readonly underlay: Underlay
}

/** A port for each peer, the first one's that which the device has had before. They stay as long as the guard. */
class PeerPorts implements AsyncDisposable {
  readonly #first: DatagramSocket
  readonly #sockets: Map<string, Promise<PeerSocket>> = new Map()

  /** Takes the socket over. */
  constructor(first: DatagramSocket) {
    this.#first = first
  }

  of(peer: TunnelPublicKey): Promise<PeerSocket> {
    const name = toHex(peer)
    const opening = this.#sockets.get(name) ?? this.#open(this.#sockets.size)
    this.#sockets.set(name, opening)
    return opening
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#first[Symbol.asyncDispose]()
    for (const opening of this.#sockets.values()) await (await opening).underlay[Symbol.asyncDispose]()
  }

  async #open(number: number): Promise<PeerSocket> {
    const own = number === 0 ? this.#first : await bindNear(this.#first.port, number)
    const socket = new HandoverSocket(own, { bind: bindUdpSocket, share: openSharedPort })
    return { socket, underlay: new Underlay(socket) }
  }
}

async function bindNear(first: number, number: number): Promise<DatagramSocket> {
  for (let port = first + number; port < Math.min(first + neighbours, 65_536); port++) {
    try {
      return await bindUdpSocket(port)
    } catch (error) {
      if (!(error instanceof PunchGuardError && error.code === 'ADDRESS_IN_USE')) throw error
    }
  }
  return bindUdpSocket(0)
}

/** Whom a process that is led by root becomes: somebody with no files. `undefined` where that is not known, or not possible. */
async function unprivilegedUser(): Promise<OpenvpnConfig['runAs']> {
  if (process.getuid?.() !== 0) return undefined
  const user = 'nobody'
  const users = await namesIn('/etc/passwd')
  const groups = await namesIn('/etc/group')
  const group = ['nogroup', 'nobody'].find((name) => groups.includes(name))
  return users.includes(user) && group !== undefined ? { user, group } : undefined
}

/** The first fields of a file of colons. */
async function namesIn(path: string): Promise<readonly string[]> {
  const text = await readFile(path, 'utf8').catch(() => '')
  return text.split('\n').map((line) => line.split(':')[0] ?? '')
}
