/** What a device's operating system offers of the network. Implemented by net/ for real and by lab/ in simulation. */

import type { Endpoint } from './endpoint.ts'

/** One UDP socket. Sending never fails loudly: what cannot be sent is lost, as on the network.
 * What is too large for the path may be cut on the way (no DF), so that no network makes it vanish. */
export interface DatagramSocket extends AsyncDisposable {
  /** The bound port. */
  readonly port: number
  /** The bytes are taken before this returns: the caller may reuse them. */
  send(bytes: Uint8Array, to: Endpoint): void
  /** The same, but rather lost than cut on the way (IPv4's DF); absent where the system has no such thing. */
  readonly sendWhole?: ((bytes: Uint8Array, to: Endpoint) => void) | undefined
  /** Sets the one receiver. `bytes` are valid during the call only. */
  receive(receiver: (bytes: Uint8Array, from: Endpoint) => void): void
}

export interface HostNetwork {
  /**
   * Binds UDP over IPv4 on all addresses; port 0 lets the system choose.
   * @throws PunchGuardError ADDRESS_IN_USE, PERMISSION_DENIED
   */
  bindUdp(options: { readonly port: number }): Promise<DatagramSocket>
  /** The host's IPv4 addresses that other machines could use: no loopback, no link-local, no tunnel of our own. */
  localAddresses(): readonly string[]
  /** The first IPv4 address of a host name, `undefined` when there is none. An address resolves to itself. */
  resolve(host: string): Promise<string | undefined>
  /** Calls back when the set of local addresses changes or the machine wakes from sleep. */
  watch(listener: () => void): Disposable
}
