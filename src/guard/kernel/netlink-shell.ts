/** The generic netlink socket to the kernel's WireGuard: one request at a time, answered within the system calls. */

import { PunchGuardError } from '../../api/errors.ts'
import { c, describeErrno, errno, type NativeMemory, type SystemCalls, systemCalls } from '../../net/ffi.ts'
import type { NetlinkFamily } from './kernel-device.ts'
import {
  decodeErrno,
  decodeFamilyPayload,
  decodeMessages,
  messageType,
  RequestWriter,
  requestFlags,
} from './netlink.ts'
import { controller, decodeFamilyId, wireguardFamily } from './wireguard-netlink.ts'

const netlinkGeneric = 16
const requestSize = 16 * 1024
/** The kernel makes parts of a dump no larger than half of this. */
const answerSize = 64 * 1024

export class WireguardNetlink implements NetlinkFamily, Disposable {
  readonly memory: Uint8Array
  readonly family: number
  readonly #system: SystemCalls
  readonly #fd: number
  readonly #request: NativeMemory
  readonly #answer: NativeMemory
  #sequence = 0

  private constructor(system: SystemCalls, fd: number) {
    this.#system = system
    this.#fd = fd
    this.#request = system.allocate(requestSize)
    this.#answer = system.allocate(answerSize)
    this.memory = this.#request.bytes
    this.family = this.#findFamily()
  }

  /** @throws PunchGuardError GUARD_UNAVAILABLE where the kernel has no WireGuard, or not now */
  static async open(): Promise<WireguardNetlink> {
    const system = await systemCalls()
    const fd = system.socket(c.AF_NETLINK, c.SOCK_RAW | c.O_CLOEXEC, netlinkGeneric)
    if (fd === -1) throw noWireguard(system.errno())
    try {
      return new WireguardNetlink(system, fd)
    } catch (error) {
      system.close(fd)
      throw error
    }
  }

  exchange(request: RequestWriter, onPart: (payload: Uint8Array) => void): number {
    const sequence = ++this.#sequence
    const { length } = request.finish(sequence)
    const sent = this.#system.sendto(this.#fd, this.#request.address, length, 0, 0, 0)
    const failed = sent < 0 ? this.#system.errno() : undefined
    this.#request.bytes.fill(0)
    return failed ?? this.#receive(sequence, onPart)
  }

  [Symbol.dispose](): void {
    this.#system.close(this.#fd)
  }

  /** Until the acknowledgement or the end of the dump; the kernel has put all of it, so nothing is waited for. */
  #receive(sequence: number, onPart: (payload: Uint8Array) => void): number {
    for (;;) {
      const { address, bytes } = this.#answer
      const length = this.#system.recv(this.#fd, address, answerSize, c.MSG_DONTWAIT)
      if (length < 0) return this.#system.errno()
      const datagram = bytes.subarray(0, length)
      try {
        for (const message of decodeMessages(datagram) ?? []) {
          if (message.sequence !== sequence) continue
          const isEnd = message.type === messageType.error || message.type === messageType.done
          if (isEnd) return decodeErrno(message.payload) ?? errno.EIO
          onPart(message.payload)
        }
      } finally {
        // A device that is read tells its keys too.
        datagram.fill(0)
      }
    }
  }

  #findFamily(): number {
    const { family, version, getFamily, familyName } = controller
    const flags = requestFlags.request | requestFlags.acknowledge
    const writer = new RequestWriter(this.memory, { family, version, flags, command: getFamily })
    writer.text(familyName, wireguardFamily.name)
    let id: number | undefined
    const failed = this.exchange(writer, (payload) => {
      id = decodeFamilyId(decodeFamilyPayload(payload))
    })
    if (failed !== 0 || id === undefined) throw noWireguard(failed)
    return id
  }
}

function noWireguard(reason: number): PunchGuardError {
  const why = reason === errno.ENOENT || reason === 0 ? '' : `: ${describeErrno(reason)}`
  return new PunchGuardError('GUARD_UNAVAILABLE', `this kernel has no WireGuard${why}`, {
    hint: 'load it with: modprobe wireguard; or set guard = "embedded" in config.toml',
  })
}
