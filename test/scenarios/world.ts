/**
 * A closed world in virtual time: three Tox nodes and a STUN server of ours on the public segment, and devices that are
 * whole but for the TUN, each at a site of its own. What runs here is the product, not a model of it.
 */

import { generateKeyPairSync } from 'node:crypto'
import type { SiteKind, SiteKindName } from '../../lab/model/kinds.ts'
import type { LinkSettings } from '../../lab/model/link.ts'
import { type Config, parseConfig } from '../../src/api/config.ts'
import type { DeviceEvent } from '../../src/api/device.ts'
import { PunchGuardError } from '../../src/api/errors.ts'
import { SecretKey } from '../../src/api/keys.ts'
import type { GuardKind } from '../../src/api/roles.ts'
import { assembleDevice } from '../../src/device/backends.ts'
import { openEmbeddedGuard } from '../../src/device/guards/embedded.ts'
import type { PeerRoutes } from '../../src/device/parts.ts'
import type { PunchGuard } from '../../src/device/punchguard.ts'
import { encodeIdentity } from '../../src/pairing/identity.ts'
import { answerBindingRequest } from '../../src/punch/stun/server.ts'
import { type OtrAccount, otrAccount } from '../../src/secret/otr/account.ts'
import { keyPairOf, toxCryptoReady } from '../../src/signal/tox/crypto.ts'
import { ToxNode } from '../../src/signal/tox/tox-node-shell.ts'
import { toHex } from '../../src/util/bytes.ts'
import { silentLogger } from '../../src/util/logger.ts'
import { openTogether } from '../../src/util/opened.ts'
import { SeededRandom } from '../network/seeded-random.ts'
import { type SimulatedHost, SimulatedInternet, type SimulatedSite } from '../network/simulated-internet.ts'
import { VirtualClock } from '../network/virtual-clock.ts'
import { MemoryStore } from './memory-store.ts'
import { MemoryTun, payloadOf, udpPacket } from './memory-tun.ts'

const toxPort = 33_445
const stunAddress = '198.51.100.20'
const nodeAddresses = ['198.51.100.11', '198.51.100.12', '198.51.100.13'] as const

/** DSA keys take 25 ms each to make and cannot be seeded: a process makes a few and uses them again. */
const dsaKeys: Uint8Array[] = []
function dsaKey(number: number): SecretKey {
  const index = number % 8
  dsaKeys[index] ??= new Uint8Array(
    generateKeyPairSync('dsa', { modulusLength: 1024, divisorLength: 160 }).privateKey.export({
      type: 'pkcs8',
      format: 'der',
    }),
  )
  return new SecretKey(dsaKeys[index].slice())
}

const accounts: Map<string, OtrAccount> = new Map()
function keptAccount(options: { readonly privateKey: SecretKey; readonly instanceTag: number }): OtrAccount {
  const name = toHex(options.privateKey.reveal())
  const account = accounts.get(name) ?? otrAccount(options)
  accounts.set(name, account)
  return { ...account, instanceTag: options.instanceTag }
}

export interface DeviceOptions {
  readonly name: string
  readonly nat: SiteKindName | SiteKind
  readonly link?: Partial<LinkSettings>
  /** By how many ms the device's wall clock is ahead. */
  readonly clockError?: number
  /** Addresses in the tunnel, as in the config. */
  readonly addresses?: readonly string[]
}

export class World implements AsyncDisposable {
  readonly clock: VirtualClock = new VirtualClock()
  readonly internet: SimulatedInternet
  readonly random: SeededRandom
  readonly #nodes: ToxNode[] = []
  readonly #devices: SimulatedDevice[] = []
  #bootstrap = ''

  private constructor(seed: number | string) {
    this.random = new SeededRandom(seed)
    this.internet = new SimulatedInternet({ clock: this.clock, seed: `internet ${seed}` })
  }

  static async create(seed: number | string): Promise<World> {
    await toxCryptoReady
    const world = new World(seed)
    await world.#startServers()
    return world
  }

  /** A device at a new site; not started. */
  async device(options: DeviceOptions): Promise<SimulatedDevice> {
    const site = this.internet.site({
      kind: options.nat,
      hosts: 1,
      ...(options.link === undefined ? {} : { link: options.link }),
    })
    const host = site.hosts[0]
    if (host === undefined) throw new Error('A site has a host')
    const { name, addresses = [] } = options
    const text = `name = "${name}"\nbootstrap = [${this.#bootstrap}]\nstun = ["${stunAddress}:3478"]\naddresses = ${JSON.stringify(addresses)}\n`
    const device = new SimulatedDevice({
      world: this,
      site,
      host,
      config: parseConfig(text, { hostName: options.name }),
      number: this.#devices.length,
      clockError: options.clockError ?? 0,
    })
    this.#devices.push(device)
    return device
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const device of this.#devices) await device.stop()
    for (const node of this.#nodes) await this.clock.settle(node[Symbol.asyncDispose](), 5000)
  }

  async #startServers(): Promise<void> {
    const stun = await this.internet.publicHost(stunAddress).bindUdp({ port: 3478 })
    stun.receive((bytes, from) => {
      const answer = answerBindingRequest(bytes, from)
      if (answer !== undefined) stun.send(answer, from)
    })
    const entries: string[] = []
    for (const address of nodeAddresses) {
      const secretKey = new SecretKey(this.random.bytes(32))
      const key = toHex(keyPairOf(secretKey).publicKey)
      const config = parseConfig(`bootstrap = [${entries.join(',')}]`, { hostName: 'node' })
      const node = await ToxNode.open({
        host: this.internet.publicHost(address),
        clock: this.clock,
        random: this.random.fork(`node ${address}`),
        logger: silentLogger,
        secretKey,
        port: toxPort,
        bootstrap: config.bootstrap,
      })
      this.#nodes.push(node)
      entries.push(`{ host = "${address}", udp = ${toxPort}, key = "${key}" }`)
    }
    this.#bootstrap = entries.join(',')
    // The nodes of the real network know one another.
    await this.clock.advance(5000)
  }
}

const notOpened = new PunchGuardError('GUARD_UNAVAILABLE', 'there is no driver', { hint: 'load it' })

export class SimulatedDevice {
  readonly world: World
  readonly site: SimulatedSite
  readonly host: SimulatedHost
  readonly store: MemoryStore = new MemoryStore()
  readonly events: DeviceEvent[] = []
  /** Of the routes to the (only) peer, as set last; the interface's when `undefined`. */
  routeMtu: number | undefined
  readonly #config: Config
  readonly #number: number
  /** By how many ms the wall clock is ahead. */
  clockError: number
  /** That the device's machine has routes to, besides the simulated internet. */
  networks: readonly string[] = []
  /** What the next start says that it carries packets with; here it is always the embedded one. */
  guard: GuardKind = 'embedded'
  /** So often the interface cannot be made. */
  failingOpens = 0
  #running: PunchGuard | undefined
  #tun: MemoryTun | undefined
  #process = { alive: false }
  #starts = 0

  constructor(options: {
    readonly world: World
    readonly site: SimulatedSite
    readonly host: SimulatedHost
    readonly config: Config
    readonly number: number
    readonly clockError: number
  }) {
    this.world = options.world
    this.site = options.site
    this.host = options.host
    this.#config = options.config
    this.#number = options.number
    this.clockError = options.clockError
  }

  get running(): PunchGuard {
    if (this.#running === undefined) throw new Error('The device is not started')
    return this.#running
  }

  get name(): string {
    return this.#config.name
  }

  /** The process starts. */
  async start(): Promise<void> {
    const { world, host } = this
    const random = world.random.fork(`${this.name} ${this.#starts++}`)
    const process = { alive: true }
    this.#process = process
    if ((await this.store.read('identity')) === undefined) await this.#makeIdentity(random)
    const clock = {
      now: () => world.clock.now(),
      wallTime: () => world.clock.wallTime() + this.clockError,
      after: (delay: number, wake: () => void) => world.clock.after(delay, wake),
    }
    const device = await world.clock.settle(
      assembleDevice({
        config: { ...this.#config, guard: this.guard },
        store: {
          read: (name) => this.store.read(name),
          write: async (name, value) => {
            if (process.alive) await this.store.write(name, value)
          },
          remove: (name) => this.store.remove(name),
        },
        version: 'test',
        openAccount: keptAccount,
        surroundings: {
          host,
          clock,
          random,
          logger: silentLogger,
          liveNetworks: async () => this.networks,
          openGuard: (_kind, options) =>
            openTogether(async (opened) => {
              if (this.failingOpens-- > 0) throw notOpened
              this.failingOpens = 0
              const tun = new MemoryTun('pg0')
              this.#tun = tun
              opened.add({
                [Symbol.asyncDispose]: async () => {
                  this.#tun = undefined
                },
              })
              const noInterface = {
                setAddresses: async () => {},
                setRoutes: async (_peer: string, { mtu }: PeerRoutes) => {
                  this.routeMtu = mtu
                },
              }
              return openEmbeddedGuard({
                ...options,
                opened,
                tun,
                interface: noInterface,
                clock,
                random,
                logger: silentLogger,
              })
            }),
        },
      }),
      10_000,
    )
    device.subscribe((event) => {
      if (process.alive) this.events.push(event)
    })
    this.#running = device
  }

  /** The process ends in an orderly way. */
  async stop(): Promise<void> {
    const device = this.#running
    if (device === undefined) return
    this.#running = undefined
    await this.world.clock.settle(device[Symbol.asyncDispose](), 20_000)
  }

  /** The process is killed: nothing more is sent, and nothing is written. */
  kill(): void {
    this.#process.alive = false
    this.#running = undefined
    this.#tun = undefined
    this.host.restart()
  }

  /** Somebody removes the interface. */
  loseInterface(): void {
    this.#tun?.lose('it was removed')
  }

  /** Whether the (only) peer is connected here. */
  get connected(): boolean {
    return this.#running?.status().peers[0]?.state === 'connected'
  }

  /** The address in the tunnel, IPv4. */
  get address(): string {
    return this.running.status().addresses[0] ?? ''
  }

  /** Sends a payload through the tunnel to another device; resolves whether it arrived within `limit` ms. `size`: of the packet. */
  async reaches(other: SimulatedDevice, limit: number, size = 60): Promise<boolean> {
    const payload = this.world.random.bytes(size - 28)
    let arrived = false
    const tun = other.#tun
    if (tun === undefined) return false
    tun.onPacket = (packet) => {
      arrived ||= Buffer.compare(payloadOf(packet), payload) === 0
    }
    this.#tun?.send(udpPacket(this.address, other.address, payload))
    return await this.world.clock.runUntil(() => arrived, limit)
  }

  async #makeIdentity(random: SeededRandom): Promise<void> {
    const clamped = (): SecretKey => {
      const key = random.bytes(32)
      key[0] = (key[0] ?? 0) & 248
      key[31] = ((key[31] ?? 0) & 127) | 64
      return new SecretKey(key)
    }
    await this.store.write(
      'identity',
      encodeIdentity({
        toxSecretKey: clamped(),
        nospam: random.bytes(4),
        otrPrivateKey: dsaKey(this.#number),
        otrInstanceTag: 0x100 + random.below(2 ** 31),
        identitySeed: new SecretKey(random.bytes(32)),
        tunnelPrivateKey: clamped(),
      }),
    )
  }
}

/** Pairs two started devices with an invite; resolves with the ms it took. */
export async function pairDevices(a: SimulatedDevice, b: SimulatedDevice, limit = 30_000): Promise<number> {
  const { clock } = a.world
  const { code } = await a.running.invite()
  const before = clock.now()
  const joined = b.running.join(code, { signal: new AbortController().signal })
  await clock.settle(joined, limit)
  const paired = (): boolean => a.running.status().peers.length === 1 && b.running.status().peers.length === 1
  if (!(await clock.runUntil(paired, limit))) throw new Error('One side did not pin the other')
  return clock.now() - before
}

/** Pairs two started devices by hand, with their cards: cheaper, and nothing travels. */
export async function exchangeCards(a: SimulatedDevice, b: SimulatedDevice): Promise<void> {
  await a.running.importCard(b.running.exportCard())
  await b.running.importCard(a.running.exportCard())
}

/** Resolves with the ms until both are connected to each other. */
export async function untilConnected(a: SimulatedDevice, b: SimulatedDevice, limit: number): Promise<number> {
  const { clock } = a.world
  const before = clock.now()
  if (!(await clock.runUntil(() => a.connected && b.connected, limit))) {
    const words = [a, b].map((device) => {
      const [peer] = device.running.status().peers
      return `${device.name}: ${peer?.state} (${peer?.reason})`
    })
    throw new Error(`Not connected after ${limit} ms: ${words.join('; ')}`)
  }
  return clock.now() - before
}
