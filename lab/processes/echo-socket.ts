/** ICMP echo requests and their replies on a raw socket (RFC 792), for one address at a time; needs CAP_NET_RAW. */

import { c, describeErrno, type NativeMemory, type SystemCalls, systemCalls } from '../../src/net/ffi.ts'
import { sharedPollLoop } from '../../src/net/poll-loop.ts'
import { parseIpv4 } from '../model/ipv4.ts'

const icmp = 1
const doNotWait = 0x40
const echoRequest = 8
const echoReply = 0
const messageLength = 64
const ipHeader = 20

export class EchoSocket implements Disposable {
  readonly #system: SystemCalls
  readonly #fd: number
  readonly #address: number
  readonly #identifier: number
  readonly #memory: NativeMemory
  readonly #registration: Disposable

  private constructor(parts: {
    readonly system: SystemCalls
    readonly fd: number
    readonly address: number
    readonly identifier: number
    readonly watch: (onReady: () => void) => Disposable
    readonly onReply: (sequence: number) => void
  }) {
    this.#system = parts.system
    this.#fd = parts.fd
    this.#address = parts.address
    this.#identifier = parts.identifier
    // The message to send, the socket address, and what is received.
    this.#memory = parts.system.allocate(messageLength + 16 + 2048)
    this.#registration = parts.watch(() => this.#read(parts.onReply))
  }

  /** `identifier`: 1..65535, one for each socket of a machine. */
  static async open(options: {
    readonly address: string
    readonly identifier: number
    readonly onReply: (sequence: number) => void
  }): Promise<EchoSocket> {
    const address = parseIpv4(options.address)
    if (address === undefined) throw new Error(`Not an IPv4 address: ${options.address}`)
    const [system, poll] = [await systemCalls(), await sharedPollLoop()]
    const fd = system.socket(c.AF_INET, c.SOCK_RAW | c.O_CLOEXEC | c.O_NONBLOCK, icmp)
    if (fd === -1) throw new Error(`A raw socket was refused: ${describeErrno(system.errno())}`)
    const { identifier, onReply } = options
    return new EchoSocket({ system, fd, address, identifier, onReply, watch: (onReady) => poll.add(fd, onReady) })
  }

  /** What cannot be sent is lost. */
  send(sequence: number): void {
    const { view, bytes, address } = this.#memory
    bytes.fill(0, 0, messageLength + 16)
    view.setUint8(0, echoRequest)
    view.setUint16(4, this.#identifier)
    view.setUint16(6, sequence)
    let sum = 0
    for (let at = 0; at < messageLength; at += 2) sum += view.getUint16(at)
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
    view.setUint16(2, 0xffff - sum)
    // struct sockaddr_in: family, port, address.
    view.setUint16(messageLength, c.AF_INET, true)
    view.setUint32(messageLength + 4, this.#address)
    this.#system.sendto(this.#fd, address, messageLength, doNotWait, address + messageLength, 16)
  }

  [Symbol.dispose](): void {
    this.#registration[Symbol.dispose]()
    this.#system.close(this.#fd)
  }

  #read(onReply: (sequence: number) => void): void {
    const { view, address } = this.#memory
    const at = messageLength + 16
    for (let count = 0; count < 64; count++) {
      const length = this.#system.recv(this.#fd, address + at, 2048, doNotWait)
      if (length < 0) return
      const header = (view.getUint8(at) & 15) * 4
      if (length < header + 8 || header < ipHeader || view.getUint32(at + 12) !== this.#address) continue
      const message = at + header
      if (view.getUint8(message) !== echoReply || view.getUint16(message + 4) !== this.#identifier) continue
      onReply(view.getUint16(message + 6))
    }
  }
}
