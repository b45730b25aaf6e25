/**
 * A TUN that can be lent to a worker with the kernel's offloads: packets of TCP or UDP come in one piece of up to 64 KiB
 * and go back so, behind a struct virtio_net_hdr (IFF_VNET_HDR, TUNSETOFFLOAD; linux/if_tun.h, linux/virtio_net.h). As
 * long as it is not lent it is a TUN as any other, with an empty header around each packet and no offloads.
 */

import { type Clock, systemClock } from '../../util/clock.ts'
import { describeErrno, errno, type NativeMemory, type SystemCalls, systemCalls } from '../ffi.ts'
import { type PollLoop, sharedPollLoop } from '../poll-loop.ts'
import { openTunDevice } from './linux.ts'
import { PolledTun, type TunFile } from './polled-tun.ts'
import { defaultMtu, type Tun, type TunOptions, type TunStats } from './tun.ts'

/** Bytes of struct virtio_net_hdr before every packet. */
export const OFFLOAD_HEADER_SIZE = 10

/** What the system hands over in one piece, and takes so. */
export interface TunOffloads {
  readonly tcp: boolean
  readonly udp: boolean
}

export interface LentTun {
  /** A descriptor of the borrower's own: it reads, writes and closes it. */
  readonly fd: number
  readonly offloads: TunOffloads
}

const withHeader = 0x4000
const setOffload = 0x400454d0
const checksum = 0x01
const tcp = 0x02 | 0x04
const udp = 0x20 | 0x40
const largestPacket = 65_535

/** @throws PunchGuardError as `openTun` does */
export async function openOffloadTun(options: TunOptions): Promise<OffloadTun> {
  return openOffloadTunNow(options, { system: await systemCalls(), poll: await sharedPollLoop() })
}

/** The same in one go, so that a thread can enter a network namespace, open, and leave. */
export function openOffloadTunNow(
  options: TunOptions,
  parts: { readonly system: SystemCalls; readonly poll: PollLoop; readonly clock?: Clock },
): OffloadTun {
  const mtu = options.mtu ?? defaultMtu
  const device = openTunDevice(parts.system, { ...options, mtu, extraFlags: withHeader })
  return new OffloadTun({ ...parts, ...device, mtu })
}

export class OffloadTun implements Tun {
  readonly name: string
  readonly mtu: number
  readonly lost: Promise<string>
  readonly #system: SystemCalls
  readonly #fd: number
  readonly #polled: PolledTun

  constructor(options: {
    readonly system: SystemCalls
    readonly poll: PollLoop
    readonly clock?: Clock
    readonly fd: number
    readonly name: string
    readonly mtu: number
  }) {
    const { system, poll, clock = systemClock, fd, name, mtu } = options
    this.name = name
    this.mtu = mtu
    this.#system = system
    this.#fd = fd
    this.#polled = new PolledTun({ file: new HeadedFile(system, fd), name, mtu, poll, clock })
    this.lost = this.#polled.lost
  }

  /** Turns the offloads on. Until `giveBack`, nobody else reads. */
  lend(): LentTun {
    this.#polled.pause()
    const offloads = this.#setOffloads()
    const fd = this.#system.duplicate(this.#fd)
    if (fd === -1) throw new Error(`the interface was not lent: ${describeErrno(this.#system.errno())}`)
    return { fd, offloads }
  }

  /** From now on `receive` works again, called anew; the borrower has stopped. */
  giveBack(): void {
    this.#system.ioctl(this.#fd, setOffload, 0)
  }

  write(packet: Uint8Array): void {
    this.#polled.write(packet)
  }

  receive(receiver: (packet: Uint8Array) => void): void {
    this.#polled.receive(receiver)
  }

  stats(): TunStats {
    return this.#polled.stats()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#polled[Symbol.asyncDispose]()
  }

  /** UDP needs Linux 6.2. */
  #setOffloads(): TunOffloads {
    const accepts = (flags: number): boolean => this.#system.ioctl(this.#fd, setOffload, flags) === 0
    if (accepts(checksum | tcp | udp)) return { tcp: true, udp: true }
    return { tcp: accepts(checksum | tcp), udp: false }
  }
}

/** Takes the header off and puts an empty one on. */
class HeadedFile implements TunFile {
  readonly fd: number
  readonly #system: SystemCalls
  readonly #incoming: NativeMemory
  readonly #outgoing: NativeMemory

  constructor(system: SystemCalls, fd: number) {
    this.fd = fd
    this.#system = system
    this.#incoming = system.allocate(OFFLOAD_HEADER_SIZE + largestPacket)
    this.#outgoing = system.allocate(OFFLOAD_HEADER_SIZE + largestPacket)
  }

  read(): Uint8Array | number {
    const { address, bytes } = this.#incoming
    const length = this.#system.read(this.fd, address, bytes.length)
    return length >= 0 ? bytes.subarray(OFFLOAD_HEADER_SIZE, length) : this.#system.errno()
  }

  write(packet: Uint8Array): number {
    if (packet.length > largestPacket) return errno.EINVAL
    const { address, bytes } = this.#outgoing
    bytes.set(packet, OFFLOAD_HEADER_SIZE)
    const written = this.#system.write(this.fd, address, OFFLOAD_HEADER_SIZE + packet.length)
    return written >= 0 ? 0 : this.#system.errno()
  }

  close(): void {
    this.#system.close(this.fd)
  }
}
