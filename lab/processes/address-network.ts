/** A host's network that uses one of the machine's addresses only, so that several servers can share a machine. */

import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import type { HostNetwork } from '../../src/api/network.ts'
import { systemHost } from '../../src/net/host-network.ts'
import { UdpSocket } from '../../src/net/udp-socket.ts'

export function addressNetwork(address: string): HostNetwork {
  const host = systemHost()
  return {
    async bindUdp({ port }) {
      const socket = createSocket('udp4')
      socket.bind(port, address)
      await once(socket, 'listening')
      return new UdpSocket(socket)
    },
    localAddresses: () => [address],
    resolve: (name) => host.resolve(name),
    watch: () => ({ [Symbol.dispose]: () => {} }),
  }
}
