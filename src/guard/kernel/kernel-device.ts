/**
 * A WireGuard interface of the Linux kernel, set and read over generic netlink. The kernel answers within the system
 * call, so there is nothing to wait for.
 */

import { PunchGuardError } from '../../api/errors.ts'
import type { GuardStatus } from '../../api/roles.ts'
import type { PeerTable, PolledDevice, SetRequest } from '../polled-device.ts'
import type { PeerCounters } from '../polled-peer.ts'
import type { RequestWriter } from './netlink.ts'
import { readDevicePart, sendSetDevice, writeGetDevice } from './wireguard-netlink.ts'

/** A socket of the family (netlink-shell.ts). */
export interface NetlinkFamily {
  /** Of `wireguard`. */
  readonly family: number
  /** Requests are written here; wiped when they are sent. */
  readonly memory: Uint8Array
  /**
   * Hands every part of the answer to `onPart`, whose bytes are valid during the call only and are wiped after it.
   * 0, or the errno.
   */
  exchange(request: RequestWriter, onPart: (payload: Uint8Array) => void): number
}

/** ENODEV and EADDRINUSE of Linux. */
const errno = { noDevice: 19, addressInUse: 98 } as const

/** Somebody else deleted the interface. */
export class WireguardGoneError extends PunchGuardError {
  constructor(interfaceName: string) {
    super('GUARD_UNAVAILABLE', `there is no WireGuard interface ${interfaceName}`, {
      hint: 'start again: another program may have removed it',
    })
  }
}

export interface KernelDeviceOptions {
  readonly interfaceName: string
  /** `Linux 6.1.0`. */
  readonly implementation: string
  readonly netlink: NetlinkFamily
  /** An errno in words. */
  readonly describe: (errno: number) => string
}

export class KernelDevice implements PolledDevice {
  readonly interfaceName: string
  readonly status: GuardStatus
  readonly #netlink: NetlinkFamily
  readonly #describe: (errno: number) => string

  constructor(options: KernelDeviceOptions) {
    this.interfaceName = options.interfaceName
    this.status = { dataPlane: 'kernel', implementation: options.implementation, offloads: [] }
    this.#netlink = options.netlink
    this.#describe = options.describe
  }

  /** @throws PunchGuardError ADDRESS_IN_USE, GUARD_UNAVAILABLE */
  async set(request: SetRequest): Promise<void> {
    const { memory, family } = this.#netlink
    sendSetDevice(this.interfaceName, request, {
      memory,
      family,
      send: (writer) => {
        const failed = this.#netlink.exchange(writer, () => {})
        if (failed !== 0) throw this.#refused(failed, request)
      },
    })
  }

  async get(): Promise<PeerTable> {
    const table = new Map<string, PeerCounters>()
    let isWhole = true
    const failed = this.#netlink.exchange(writeGetDevice(this.interfaceName, this.#netlink), (part) => {
      isWhole = readDevicePart(part, table) && isWhole
    })
    if (failed !== 0) throw this.#refused(failed, {})
    if (!isWhole) throw new Error('The kernel gave an answer that cannot be read')
    return table
  }

  #refused(failed: number, { listenPort }: SetRequest): PunchGuardError {
    if (failed === errno.addressInUse) {
      return new PunchGuardError('ADDRESS_IN_USE', `UDP port ${listenPort} is in use`, {
        hint: 'choose another port in config.toml, or 0 for any free one',
      })
    }
    if (failed === errno.noDevice) return new WireguardGoneError(this.interfaceName)
    return new PunchGuardError('GUARD_UNAVAILABLE', `the kernel's WireGuard refused: ${this.#describe(failed)}`, {
      hint: 'run as root, or set guard = "embedded" in config.toml',
    })
  }
}
