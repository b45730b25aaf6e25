/** The servers of others that a device is told of. None of them is trusted with more than being reached. */

export interface BootstrapNode {
  /** Name or IPv4 address. */
  readonly host: string
  /** UDP port of the DHT node. */
  readonly udp: number
  /** Ports of its TCP relay; may be empty. */
  readonly tcp: readonly number[]
  /** Its long-term public key, 32 bytes. */
  readonly key: Uint8Array
}

export interface HostPort {
  readonly host: string
  readonly port: number
}
