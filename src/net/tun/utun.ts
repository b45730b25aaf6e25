/**
 * TUN on macOS: a utun is a kernel control socket, and lives as long as its descriptor. Every packet has its address
 * family before it, 32 bits in network order. The system chooses the name unless it is `utun` and a number. Left out:
 * sendmsg_x and recvmsg_x, which are private. (XNU, bsd/net/if_utun.h, bsd/sys/kern_control.h; not run on a Mac yet)
 */

import { PunchGuardError } from '../../api/errors.ts'
import { systemClock } from '../../util/clock.ts'
import { describeErrno, errno, type NativeMemory } from '../ffi.ts'
import { type MacosCalls, macos, macosCalls } from '../macos-calls.ts'
import { sharedPipePollLoop } from '../pipe-poll-loop.ts'
import { PolledTun, type TunFile } from './polled-tun.ts'
import { defaultMtu, type Tun, type TunDevice, type TunOptions } from './tun.ts'

/** The system calls that make an interface and carry its packets. */
export type UtunCalls = Pick<
  MacosCalls,
  'allocate' | 'close' | 'connect' | 'errno' | 'fcntl' | 'getsockopt' | 'ioctl' | 'read' | 'socket' | 'write'
>

const controlName = 'com.apple.net.utun_control'
/** struct ctl_info: 32 bits of id, 96 bytes of name. */
const controlInfoSize = 100
/** struct sockaddr_ctl: length, family, sub-family, id, unit, and five reserved words. */
const controlAddressSize = 32
/** struct ifreq: the name, then what is asked for. */
const interfaceRequestSize = 32
const nameSize = 16
const familySize = 4
const largestPacket = 65_535

/**
 * Makes a new interface and removes it when disposed. It is down and has no address.
 * @throws PunchGuardError GUARD_UNAVAILABLE, PERMISSION_DENIED
 */
export async function openUtun(options: TunOptions): Promise<Tun> {
  const system = await macosCalls()
  const poll = await sharedPipePollLoop()
  const mtu = options.mtu ?? defaultMtu
  const { fd, name } = openUtunDevice(system, { ...options, mtu })
  return new PolledTun({ file: new UtunDescriptor(system, fd), name, mtu, poll, clock: systemClock })
}

/** Only the descriptor, non-blocking. */
export function openUtunDevice(system: UtunCalls, options: TunOptions): TunDevice {
  const fd = system.socket(macos.PF_SYSTEM, macos.SOCK_DGRAM, macos.SYSPROTO_CONTROL)
  if (fd === -1) throw failed(system, 'there are no kernel control sockets')
  try {
    connect(system, fd, unitOf(options.name))
    system.fcntl(fd, macos.F_SETFD, macos.FD_CLOEXEC)
    if (system.fcntl(fd, macos.F_SETFL, macos.O_NONBLOCK) === -1) throw failed(system, 'the interface cannot be read')
    const name = nameOf(system, fd)
    if (options.mtu !== undefined) setMtu(system, name, options.mtu)
    return { fd, name }
  } catch (error) {
    system.close(fd)
    throw error
  }
}

/** Of `sc_unit`: `utun3` is 4, and 0 lets the system choose. */
function unitOf(name: string): number {
  const match = /^utun(\d{1,4})$/.exec(name)
  return match === null ? 0 : Number(match[1]) + 1
}

function connect(system: UtunCalls, fd: number, unit: number): void {
  const info = system.allocate(controlInfoSize)
  info.bytes.set(new TextEncoder().encode(controlName), 4)
  if (system.ioctl(fd, macos.CTLIOCGINFO, info.address) === -1) throw failed(system, 'there is no utun driver')
  const address = system.allocate(controlAddressSize)
  address.view.setUint8(0, controlAddressSize)
  address.view.setUint8(1, macos.PF_SYSTEM)
  address.view.setUint16(2, macos.AF_SYS_CONTROL, true)
  address.view.setUint32(4, info.view.getUint32(0, true), true)
  address.view.setUint32(8, unit, true)
  if (system.connect(fd, address.address, controlAddressSize) === 0) return
  if (system.errno() === errno.EBUSY) {
    throw new PunchGuardError('GUARD_UNAVAILABLE', `an interface named utun${unit - 1} exists already`, {
      hint: 'choose another number in config.toml, or interface = "utun" for any free one',
    })
  }
  throw failed(system, 'an interface may not be made')
}

function nameOf(system: UtunCalls, fd: number): string {
  const value = system.allocate(nameSize + 4)
  const length = value.address + nameSize
  value.view.setUint32(nameSize, nameSize, true)
  if (system.getsockopt(fd, macos.SYSPROTO_CONTROL, macos.UTUN_OPT_IFNAME, value.address, length) === -1)
    throw failed(system, 'the interface has no name')
  const end = value.bytes.indexOf(0)
  return new TextDecoder().decode(value.bytes.subarray(0, Math.min(nameSize, end)))
}

function setMtu(system: UtunCalls, name: string, mtu: number): void {
  const socket = system.socket(macos.AF_INET, macos.SOCK_DGRAM, 0)
  const request = system.allocate(interfaceRequestSize)
  request.bytes.set(new TextEncoder().encode(name))
  request.view.setInt32(nameSize, mtu, true)
  const refused = system.ioctl(socket, macos.SIOCSIFMTU, request.address) === -1 ? system.errno() : 0
  system.close(socket)
  if (refused === 0) return
  throw new PunchGuardError('GUARD_UNAVAILABLE', `the MTU ${mtu} was refused: ${describeErrno(refused)}`, {
    hint: 'an MTU is between 1280 and 65535 bytes; 1420 suits most networks',
  })
}

function failed(system: UtunCalls, what: string): PunchGuardError {
  const code = system.errno()
  const message = `${what} (${describeErrno(code)})`
  if (code === errno.EPERM || code === errno.EACCES)
    return new PunchGuardError('PERMISSION_DENIED', message, { hint: 'run as root: sudo punchguard …' })
  return new PunchGuardError('GUARD_UNAVAILABLE', message, { hint: 'try again; if it stays so, restart the machine' })
}

/** Puts the address family before each packet, and takes it off. */
export class UtunDescriptor implements TunFile {
  readonly fd: number
  readonly #system: UtunCalls
  readonly #incoming: NativeMemory
  readonly #outgoing: NativeMemory

  constructor(system: UtunCalls, fd: number) {
    this.fd = fd
    this.#system = system
    this.#incoming = system.allocate(familySize + largestPacket)
    this.#outgoing = system.allocate(familySize + largestPacket)
  }

  read(): Uint8Array | number {
    const { address, bytes } = this.#incoming
    const length = this.#system.read(this.fd, address, bytes.length)
    if (length > 0) return bytes.subarray(familySize, Math.max(familySize, length))
    // The end of the stream: the system closed its side.
    return length === 0 ? errno.ENXIO : this.#system.errno()
  }

  write(packet: Uint8Array): number {
    const family = familyOf(packet)
    if (family === undefined || packet.length > largestPacket) return errno.EINVAL
    const { address, bytes, view } = this.#outgoing
    view.setUint32(0, family)
    bytes.set(packet, familySize)
    return this.#system.write(this.fd, address, familySize + packet.length) >= 0 ? 0 : this.#system.errno()
  }

  close(): void {
    this.#system.close(this.fd)
  }
}

function familyOf(packet: Uint8Array): number | undefined {
  const version = (packet[0] ?? 0) >> 4
  if (version === 4) return macos.AF_INET
  return version === 6 ? macos.AF_INET6 : undefined
}
