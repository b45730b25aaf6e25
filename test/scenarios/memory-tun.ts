/** A TUN without a kernel: the test is the system behind it. Answers packets that ask for an echo by themselves. */

import type { Tun, TunStats } from '../../src/net/tun/tun.ts'

const protocolUdp = 17

export class MemoryTun implements Tun {
  readonly name: string
  readonly mtu: number = 1392
  readonly lost: Promise<string>
  #lose: (reason: string) => void = () => {}
  #receiver: ((packet: Uint8Array) => void) | undefined
  #received = 0
  #written = 0
  /** Called with every packet that came out of the tunnel. */
  onPacket: (packet: Uint8Array) => void = () => {}

  constructor(name: string) {
    this.name = name
    this.lost = new Promise((resolve) => {
      this.#lose = resolve
    })
  }

  /** Somebody removes the interface. */
  lose(reason: string): void {
    this.#receiver = undefined
    this.#lose(reason)
  }

  /** The system sends a packet into the interface. */
  send(packet: Uint8Array): void {
    this.#received++
    this.#receiver?.(packet)
  }

  write(packet: Uint8Array): void {
    this.#written++
    this.onPacket(packet)
  }

  receive(receiver: (packet: Uint8Array) => void): void {
    this.#receiver = receiver
  }

  stats(): TunStats {
    return { received: this.#received, written: this.#written, dropped: { full: 0, down: 0, refused: 0 } }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#receiver = undefined
  }
}

/** A UDP datagram in IPv4 (RFC 791, RFC 768), without checksums: nobody in the tunnel looks at them. */
export function udpPacket(from: string, to: string, payload: Uint8Array): Uint8Array {
  const packet = new Uint8Array(28 + payload.length)
  const view = new DataView(packet.buffer)
  packet.set([0x45])
  view.setUint16(2, packet.length)
  packet.set([64, protocolUdp], 8)
  packet.set(from.split('.').map(Number), 12)
  packet.set(to.split('.').map(Number), 16)
  view.setUint16(24, 8 + payload.length)
  packet.set(payload, 28)
  return packet
}

/** The payload of `udpPacket`. */
export function payloadOf(packet: Uint8Array): Uint8Array {
  return packet.slice(28)
}
