/** The lab's public servers in one process: STUN on some addresses, a Tox node on each of the others. */

import { SecretKey } from '../../src/api/keys.ts'
import type { BootstrapNode } from '../../src/api/servers.ts'
import { answerBindingRequest } from '../../src/punch/stun/server.ts'
import { ToxNode } from '../../src/signal/tox/tox-node-shell.ts'
import { toHex } from '../../src/util/bytes.ts'
import { systemClock } from '../../src/util/clock.ts'
import { silentLogger } from '../../src/util/logger.ts'
import { systemRandom } from '../../src/util/random.ts'
import { addressNetwork } from './address-network.ts'
import type { ServerOptions, ServersReady } from './server-protocol.ts'

async function serveStun(address: string, port: number): Promise<void> {
  const socket = await addressNetwork(address).bindUdp({ port })
  socket.receive((bytes, from) => {
    const answer = answerBindingRequest(bytes, from)
    if (answer !== undefined) socket.send(answer, from)
  })
}

/** Every node knows those before it. */
async function serveTox({ tox, toxPort: port }: ServerOptions): Promise<readonly BootstrapNode[]> {
  const nodes: BootstrapNode[] = []
  for (const host of tox) {
    const { publicKey } = await ToxNode.open({
      host: addressNetwork(host),
      clock: systemClock,
      random: systemRandom,
      logger: silentLogger,
      secretKey: new SecretKey(systemRandom.bytes(32)),
      port,
      bootstrap: [...nodes],
    })
    nodes.push({ host, udp: port, tcp: [], key: publicKey })
  }
  return nodes
}

const options: ServerOptions = JSON.parse(process.argv[2] ?? '')
for (const address of options.stun) await serveStun(address, options.stunPort)
const nodes = await serveTox(options)
const ready: ServersReady = { tox: nodes.map((node) => ({ ...node, key: toHex(node.key) })) }
process.stdout.write(`${JSON.stringify(ready)}\n`)
