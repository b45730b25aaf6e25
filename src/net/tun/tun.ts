/** A virtual interface of layer 3: what the system routes into it arrives here, what is written goes into the system. */

/** Plain counters. `written` counts packets the system took; `dropped` those it did not, by reason. */
export interface TunStats {
  readonly received: number
  readonly written: number
  readonly dropped: Readonly<Record<TunDropReason, number>>
}

/** `full`: no room in the system's queue. `down`: the interface is not up. `refused`: no IP packet, or too long. */
export type TunDropReason = 'full' | 'down' | 'refused'

export interface TunOptions {
  /** 1 to 15 characters; on Linux `%d` stands for the first free number. */
  readonly name: string
  /** Bytes; WireGuard's usual 1420 unless told. */
  readonly mtu?: number
  /** Packets that Linux keeps for us before it drops; its own default (500) unless told. */
  readonly queueLength?: number
}

/** An open interface: the caller reads and writes the descriptor, and closes it. */
export interface TunDevice {
  readonly fd: number
  readonly name: string
}

/** Bytes, when nothing is said. */
export const defaultMtu = 1420

export interface Tun extends AsyncDisposable {
  readonly name: string
  /** Bytes of the longest packet, set when the interface was opened. */
  readonly mtu: number
  /** One IP packet. The bytes are taken before this returns; what cannot be written is dropped and counted. */
  write(packet: Uint8Array): void
  /** Sets the one receiver and begins to read. `packet` is valid during the call only. */
  receive(receiver: (packet: Uint8Array) => void): void
  /** Resolves, with the reason in words, when the interface is gone without us; never rejects. */
  readonly lost: Promise<string>
  stats(): TunStats
}
