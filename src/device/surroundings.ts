/** What a device stands on, in the words that the machine, the guards on it and a simulated world share. */

import type { SecretKey, TunnelPublicKey } from '../api/keys.ts'
import type { DatagramSocket, HostNetwork } from '../api/network.ts'
import type { Guard, GuardKind } from '../api/roles.ts'
import type { Underlay } from '../net/underlay.ts'
import type { Clock } from '../util/clock.ts'
import type { Logger } from '../util/logger.ts'
import type { Opened } from '../util/opened.ts'
import type { Random } from '../util/random.ts'
import type { TunnelInterface } from './parts.ts'

export interface OpenGuardOptions {
  /** Bound for the tunnel, and taken over: an embedded guard sends on it, another one takes its port. */
  readonly socket: DatagramSocket
  readonly addresses: readonly string[]
  /** The caller's. */
  readonly privateKey: SecretKey
  /** Of the last run: WireGuard's timestamps must not go back (whitepaper §5.1). */
  readonly lastTimestamp: Uint8Array | undefined
}

/** A guard, its interface up, with our addresses on it. */
export interface OpenGuard extends AsyncDisposable {
  readonly guard: Guard
  /** Shares its port with what the guard sends to the peer. */
  underlayFor(peer: TunnelPublicKey): Promise<Underlay>
  readonly interface: TunnelInterface
  /** Resolves, with the reason in words, when the interface is gone without us; never rejects. */
  readonly lost: Promise<string>
  readonly lastTimestamp: () => Uint8Array | undefined
}

/** What a device stands on. The daemon gives it the machine, a test a simulated one. */
export interface Surroundings {
  readonly host: HostNetwork
  /** Prefixes that there are routes to, those into the tunnel left out. */
  readonly liveNetworks: () => Promise<readonly string[]>
  /** @throws PunchGuardError GUARD_UNAVAILABLE, PERMISSION_DENIED, ADDRESS_IN_USE */
  readonly openGuard: (kind: GuardKind, options: OpenGuardOptions) => Promise<OpenGuard>
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
}

export interface MachineOptions {
  /** Name of the tunnel interface. */
  readonly interfaceName: string
  readonly mtu: number
  readonly undoLogPath: string
  readonly logger: Logger
}

/** What a guard of the machine is opened with; `opened` holds what it stands on, and is closed with it. */
export type MachineGuardOptions = OpenGuardOptions &
  MachineOptions & {
    readonly opened: Opened
    /** Told of an interface of ours before it is there. */
    readonly ownInterface: (name: string) => void
  }
