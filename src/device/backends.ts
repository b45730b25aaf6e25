/**
 * The one file that names concrete classes: which signal network, secret channel and puncher a device is made of. The
 * guards, of which a person chooses one, are in guards/.
 */

import * as v from 'valibot'
import type { Config } from '../api/config.ts'
import { PunchGuardError } from '../api/errors.ts'
import { tunnelPublicKey } from '../api/keys.ts'
import type { DatagramSocket, HostNetwork } from '../api/network.ts'
import type { StateStore } from '../api/state-store.ts'
import { importKeyPair } from '../guard/wireguard/crypto.ts'
import type { Underlay } from '../net/underlay.ts'
import type { Card } from '../pairing/card.ts'
import { createIdentity, type DeviceIdentity, encodeIdentity, parseIdentity } from '../pairing/identity.ts'
import { IcePuncher } from '../punch/puncher.ts'
import { otrAccount } from '../secret/otr/account.ts'
import { OtrChannel } from '../secret/otr/channel.ts'
import { identityPublicKeyOf, PresharedKeyAgreement } from '../secret/preshared-key.ts'
import { ToxNetwork } from '../signal/tox/tox-network-shell.ts'
import { fromBase64, fromHex, toBase64 } from '../util/bytes.ts'
import type { Logger } from '../util/logger.ts'
import type { Random } from '../util/random.ts'
import { thisMachine } from './machine.ts'
import type { DeviceParts, Tunnel } from './parts.ts'
import { PunchGuard } from './punchguard.ts'
import { tunnelOverhead } from './route-mtu.ts'
import type { Surroundings } from './surroundings.ts'

export interface CreateDeviceOptions {
  readonly config: Config
  readonly store: StateStore
  readonly logger: Logger
  /** Changes to the machine are written down here before they are made. */
  readonly undoLogPath: string
  readonly version: string
}

/** A device on this machine. @throws PunchGuardError */
export async function createDevice(options: CreateDeviceOptions): Promise<PunchGuard> {
  const { config, undoLogPath, logger } = options
  const { interface: interfaceName, mtu } = config
  return assembleDevice({ ...options, surroundings: await thisMachine({ interfaceName, mtu, undoLogPath, logger }) })
}

/** A device on any surroundings. @throws PunchGuardError STATE_DAMAGED, STATE_UNWRITABLE, ADDRESS_IN_USE */
export async function assembleDevice(options: {
  readonly config: Config
  readonly store: StateStore
  readonly version: string
  readonly surroundings: Surroundings
  /** An OTR account's first signature takes 15 ms more than others; who opens one device many times keeps it. */
  readonly openAccount?: typeof otrAccount
}): Promise<PunchGuard> {
  const { config, store, version, surroundings, openAccount = otrAccount } = options
  const { host, clock, random, logger } = surroundings
  const identity = await loadIdentity(store, random)
  const account = openAccount({ privateKey: identity.otrPrivateKey, instanceTag: identity.otrInstanceTag })
  const network = await ToxNetwork.open({
    host,
    clock,
    random,
    logger,
    secretKey: identity.toxSecretKey,
    nospam: identity.nospam,
    bootstrap: config.bootstrap,
    port: config.toxPort,
  })
  try {
    const card = ownCard({ config, identity, toxAddress: network.address, fingerprint: account.fingerprint })
    const parts: DeviceParts = {
      version,
      card,
      addressing: { configured: config.addresses, liveNetworks: surroundings.liveNetworks },
      guard: config.guard,
      store,
      network,
      openSecret: (channel, pinned) => new OtrChannel({ channel, account, pinned, clock, random, logger }),
      agreement: ({ peerIdentity, context }) =>
        new PresharedKeyAgreement({ identitySeed: identity.identitySeed, peerIdentity, random, context }),
      openTunnel: (addresses) => openTunnel({ config, store, identity, addresses, surroundings }),
      watchNetwork: (listener) => host.watch(listener),
      clock,
      random,
      logger,
    }
    return await PunchGuard.open(parts)
  } catch (error) {
    await network[Symbol.asyncDispose]()
    throw error
  }
}

async function loadIdentity(store: StateStore, random: Random): Promise<DeviceIdentity> {
  const stored = await store.read('identity')
  if (stored !== undefined) return parseIdentity(stored)
  const identity = await createIdentity({ random })
  await store.write('identity', encodeIdentity(identity))
  return identity
}

function ownCard(options: {
  readonly config: Config
  readonly identity: DeviceIdentity
  readonly toxAddress: string
  readonly fingerprint: Card['otrFingerprint']
}): Card {
  const { config, identity, toxAddress, fingerprint } = options
  const toxId = fromHex(toxAddress)
  const tunnelKey = tunnelPublicKey(importKeyPair(identity.tunnelPrivateKey.reveal()).publicKey)
  if (toxId === undefined || tunnelKey === undefined) throw new Error('Our own keys have no public half')
  const identityKey = identityPublicKeyOf(identity.identitySeed)
  return { name: config.name, toxId, otrFingerprint: fingerprint, identityKey, tunnelKey }
}

/** The guard on a socket that the NAT may still know, and a puncher on every socket that the guard sends from. */
async function openTunnel(options: {
  readonly config: Config
  readonly store: StateStore
  readonly identity: DeviceIdentity
  readonly addresses: readonly string[]
  readonly surroundings: Surroundings
}): Promise<Tunnel> {
  const { config, store, identity, addresses, surroundings } = options
  const { host, clock, random, logger } = surroundings
  const socket = await bindTunnelSocket({ config, store, host })
  const opened = await surroundings.openGuard(config.guard, {
    socket,
    addresses,
    privateKey: identity.tunnelPrivateKey,
    lastTimestamp: await readLastTimestamp(store),
  })
  const punchers = new Map<Underlay, IcePuncher>()
  const { stun: stunServers, mtu } = config
  const largestPacket = mtu + tunnelOverhead
  return {
    guard: opened.guard,
    puncherFor: async (peer) => {
      const underlay = await opened.underlayFor(peer)
      const known = punchers.get(underlay)
      const puncher = known ?? new IcePuncher({ underlay, host, stunServers, clock, random, logger, largestPacket })
      punchers.set(underlay, puncher)
      return puncher
    },
    interface: opened.interface,
    mtu,
    udpPort: socket.port,
    lost: opened.lost,
    [Symbol.asyncDispose]: async () => {
      for (const puncher of punchers.values()) await puncher[Symbol.asyncDispose]()
      await opened[Symbol.asyncDispose]()
      const lastTimestamp = opened.lastTimestamp()
      if (lastTimestamp !== undefined) await store.write('guard', { lastTimestamp: toBase64(lastTimestamp) })
    },
  }
}

/**
 * The configured port, or the one of last time: the NAT may still know it, and so may the peer.
 * @throws PunchGuardError ADDRESS_IN_USE
 */
async function bindTunnelSocket(options: {
  readonly config: Config
  readonly store: StateStore
  readonly host: HostNetwork
}): Promise<DatagramSocket> {
  const { config, store, host } = options
  if (config.port !== 0) return host.bindUdp({ port: config.port })
  const stored = v.safeParse(storedPort, await store.read('socket'))
  const wanted = stored.success ? stored.output.port : 0
  const socket = await host.bindUdp({ port: wanted }).catch((error: unknown) => {
    if (error instanceof PunchGuardError && error.code === 'ADDRESS_IN_USE') return host.bindUdp({ port: 0 })
    throw error
  })
  if (socket.port !== wanted) await store.write('socket', { port: socket.port })
  return socket
}

const storedPort = v.object({ port: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65_535)) })

/** WireGuard's timestamps must not go back, even when the clock did (whitepaper §5.1). */
async function readLastTimestamp(store: StateStore): Promise<Uint8Array | undefined> {
  const stored = v.safeParse(v.object({ lastTimestamp: v.string() }), await store.read('guard'))
  const bytes = stored.success ? fromBase64(stored.output.lastTimestamp) : undefined
  return bytes?.length === 12 ? bytes : undefined
}
