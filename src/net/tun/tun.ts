/** A virtual interface of layer 3: what the system routes into it arrives here, what is written goes into the system. */

/** Plain counters. `written` counts packets the system took; `dropped` those it did not, by reason. */
export interface TunStats {
  readonly received: number
  readonly written: number
  readonly dropped: Readonly<Record<TunDropReason, number>>
}

/** `full`: no room in the system's queue. `down`: the interface is not up. `refused`: no IP packet, or too long. */
export type TunDropReason = 'full' | 'down' | 'refused'

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
