/**
 * TUN on Linux: /dev/net/tun with one bare IP packet a read or write (IFF_TUN, IFF_NO_PI), never blocking. The
 * interface lives as long as its descriptor. Left out: IFF_VNET_HDR and several queues, for a data plane that takes
 * the descriptor of `openTunDevice` into a worker. (Linux, Documentation/networking/tuntap.rst)
 */

import { PunchGuardError } from '../../api/errors.ts'
import { type Clock, systemClock } from '../../util/clock.ts'
import { c, describeErrno, errno, type NativeMemory, type SystemCalls, systemCalls } from '../ffi.ts'
import { type PollLoop, sharedPollLoop } from '../poll-loop.ts'
import { PolledTun, type TunFile } from './polled-tun.ts'
import { defaultMtu, type Tun, type TunDevice, type TunOptions } from './tun.ts'

/** The system calls that make an interface. */
export type TunCalls = Pick<SystemCalls, 'allocate' | 'close' | 'errno' | 'ioctl' | 'open' | 'socket'>

const largestPacket = 65_535

// linux/if_tun.h and linux/sockios.h
const tunSetInterface = 0x400454ca
const setPersistent = 0x400454cb
const setIndex = 0x400454da
const setMtu = 0x8922
const setQueueLength = 0x8943
const flags = { tun: 0x0001, noPacketInformation: 0x1000, exclusive: 0x8000 } as const
const interfaceRequestSize = 40
const interfaceNameSize = 16

/**
 * Makes a new interface and removes it when disposed. It is down and has no address: see net/interface.ts.
 * @throws PunchGuardError GUARD_UNAVAILABLE (no TUN driver, name taken), PERMISSION_DENIED, CONFIG_INVALID (name)
 */
export async function openTun(options: TunOptions): Promise<Tun> {
  return openTunNow(options, { system: await systemCalls(), poll: await sharedPollLoop() })
}

/** The same in one go, so that a thread can enter a network namespace, open, and leave. */
export function openTunNow(
  options: TunOptions,
  parts: { readonly system: SystemCalls; readonly poll: PollLoop; readonly clock?: Clock },
): Tun {
  const mtu = options.mtu ?? defaultMtu
  const { fd, name } = openTunDevice(parts.system, { ...options, mtu })
  const file = new TunDescriptor(parts.system, fd)
  return new PolledTun({ file, name, mtu, poll: parts.poll, clock: parts.clock ?? systemClock })
}

/**
 * Makes an interface for another program, which opens it by its name. It stays until it is deleted; there must be none of
 * its name.
 * @throws PunchGuardError as `openTun` does
 */
export async function makePersistentTun(options: PersistentTunOptions): Promise<void> {
  makePersistentTunNow(await systemCalls(), options)
}

export interface PersistentTunOptions extends TunOptions {
  /** Of the interface. */
  readonly index: number
}

export function makePersistentTunNow(system: TunCalls, options: PersistentTunOptions): void {
  const { fd } = openTunDevice(system, options)
  const failed = system.ioctl(fd, setPersistent, 1) === -1 ? system.errno() : 0
  system.close(fd)
  if (failed !== 0) throw attachFailed(options.name, failed)
}

interface DeviceOptions extends TunOptions {
  /** More of TUNSETIFF's flags. */
  readonly extraFlags?: number
  /** Of the interface; the system's choice unless told. */
  readonly index?: number
}

/** Only the descriptor, non-blocking. */
export function openTunDevice(system: TunCalls, options: DeviceOptions): TunDevice {
  if (!/^[^\s/:]{1,15}$/.test(options.name) || options.name === '.' || options.name === '..') {
    throw new PunchGuardError('CONFIG_INVALID', `'${options.name}' cannot be the name of an interface`, {
      hint: 'use 1 to 15 letters and digits, such as pg0',
    })
  }
  const fd = system.open('/dev/net/tun', c.O_RDWR | c.O_NONBLOCK | c.O_CLOEXEC)
  if (fd === -1) throw openFailed(system.errno())
  try {
    return { fd, name: attach(system, fd, options) }
  } catch (error) {
    system.close(fd)
    throw error
  }
}

function attach(system: TunCalls, fd: number, options: DeviceOptions): string {
  const request = system.allocate(interfaceRequestSize)
  if (options.index !== undefined) {
    request.view.setUint32(0, options.index, true)
    if (system.ioctl(fd, setIndex, request.address) === -1) throw attachFailed(options.name, system.errno())
    request.bytes.fill(0)
  }
  const asked = flags.tun | flags.noPacketInformation | flags.exclusive | (options.extraFlags ?? 0)
  request.bytes.set(new TextEncoder().encode(options.name))
  request.view.setUint16(interfaceNameSize, asked, true)
  if (system.ioctl(fd, tunSetInterface, request.address) === -1) throw attachFailed(options.name, system.errno())
  const end = request.bytes.indexOf(0)
  const name = new TextDecoder().decode(request.bytes.subarray(0, end))
  if (options.mtu !== undefined) configure(system, request, { what: 'MTU', code: setMtu, value: options.mtu })
  if (options.queueLength !== undefined)
    configure(system, request, { what: 'queue length', code: setQueueLength, value: options.queueLength })
  return name
}

function configure(
  system: TunCalls,
  request: NativeMemory,
  { what, code, value }: { readonly what: string; readonly code: number; readonly value: number },
): void {
  const socket = system.socket(c.AF_INET, c.SOCK_DGRAM | c.O_CLOEXEC, 0)
  request.view.setInt32(interfaceNameSize, value, true)
  const failed = system.ioctl(socket, code, request.address) === -1 ? system.errno() : 0
  system.close(socket)
  if (failed === 0) return
  throw new PunchGuardError('GUARD_UNAVAILABLE', `the ${what} ${value} was refused: ${describeErrno(failed)}`, {
    hint: 'an MTU is between 1280 and 65535 bytes; 1420 suits most networks',
  })
}

function openFailed(code: number): PunchGuardError {
  const cause = new Error(describeErrno(code))
  if (code === errno.EACCES || code === errno.EPERM) return notPermitted('/dev/net/tun may not be opened', cause)
  return new PunchGuardError('GUARD_UNAVAILABLE', `there is no usable /dev/net/tun (${describeErrno(code)})`, {
    hint: 'load the driver with: modprobe tun (in a container, pass the device /dev/net/tun in)',
    cause,
  })
}

function attachFailed(name: string, code: number): PunchGuardError {
  const cause = new Error(describeErrno(code))
  if (code === errno.EPERM || code === errno.EACCES) return notPermitted('an interface may not be made', cause)
  if (code === errno.EBUSY) {
    return new PunchGuardError('GUARD_UNAVAILABLE', `an interface named ${name} exists already`, {
      hint: `choose another name, or remove it with: ip link delete ${name}`,
      cause,
    })
  }
  return new PunchGuardError('GUARD_UNAVAILABLE', `the interface ${name} was not made (${describeErrno(code)})`, {
    hint: 'choose another interface name',
    cause,
  })
}

function notPermitted(message: string, cause: Error): PunchGuardError {
  return new PunchGuardError('PERMISSION_DENIED', message, {
    hint: 'run as root, or with the capability CAP_NET_ADMIN and access to /dev/net/tun',
    cause,
  })
}

class TunDescriptor implements TunFile {
  readonly fd: number
  readonly #system: SystemCalls
  readonly #incoming: NativeMemory
  readonly #outgoing: NativeMemory

  constructor(system: SystemCalls, fd: number) {
    this.fd = fd
    this.#system = system
    this.#incoming = system.allocate(largestPacket)
    this.#outgoing = system.allocate(largestPacket)
  }

  read(): Uint8Array | number {
    const length = this.#system.read(this.fd, this.#incoming.address, largestPacket)
    return length >= 0 ? this.#incoming.bytes.subarray(0, length) : this.#system.errno()
  }

  write(packet: Uint8Array): number {
    if (packet.length > largestPacket) return errno.EINVAL
    this.#outgoing.bytes.set(packet)
    return this.#system.write(this.fd, this.#outgoing.address, packet.length) >= 0 ? 0 : this.#system.errno()
  }

  close(): void {
    this.#system.close(this.fd)
  }
}
